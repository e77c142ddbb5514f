# tests/fuzz/: targets for libFuzzer; `make check` runs each for a moment with a driver of our own (fuzz smoke),
# `make fuzz SECONDS=600` for long with libFuzzer. A new target: its name here, its libraries below, seeds in corpus/.

if WITH_FUZZING
FUZZ_MAIN =
else
FUZZ_MAIN = tests/fuzz/libfuzzmain.a
check_LIBRARIES = tests/fuzz/libfuzzmain.a
tests_fuzz_libfuzzmain_a_SOURCES = tests/fuzz/driver.c
endif

FUZZ_TARGETS = \
	tests/fuzz/fuzz_address \
	tests/fuzz/fuzz_bodystructure \
	tests/fuzz/fuzz_cache_record \
	tests/fuzz/fuzz_decode \
	tests/fuzz/fuzz_dkim \
	tests/fuzz/fuzz_envelope \
	tests/fuzz/fuzz_folder \
	tests/fuzz/fuzz_foreign \
	tests/fuzz/fuzz_rdata \
	tests/fuzz/fuzz_replies \
	tests/fuzz/fuzz_reply \
	tests/fuzz/fuzz_header \
	tests/fuzz/fuzz_imap_command \
	tests/fuzz/fuzz_imap_set \
	tests/fuzz/fuzz_ipc \
	tests/fuzz/fuzz_log \
	tests/fuzz/fuzz_mbox \
	tests/fuzz/fuzz_mime \
	tests/fuzz/fuzz_mime_pack \
	tests/fuzz/fuzz_mtasts \
	tests/fuzz/fuzz_name \
	tests/fuzz/fuzz_index \
	tests/fuzz/fuzz_parent \
	tests/fuzz/fuzz_pop3_command \
	tests/fuzz/fuzz_preview \
	tests/fuzz/fuzz_sasl \
	tests/fuzz/fuzz_search \
	tests/fuzz/fuzz_send \
	tests/fuzz/fuzz_settings \
	tests/fuzz/fuzz_smtp_command \
	tests/fuzz/fuzz_smtptext \
	tests/fuzz/fuzz_suppress \
	tests/fuzz/fuzz_srs \
	tests/fuzz/fuzz_submitted

check_PROGRAMS += $(FUZZ_TARGETS)
TESTS += $(FUZZ_TARGETS)
EXTRA_DIST += tests/fuzz/run tests/fuzz/corpus
CLEANFILES += crash-*

FUZZ_LINK = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_address_SOURCES = tests/fuzz/fuzz_address.c
tests_fuzz_fuzz_address_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_address_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_bodystructure_SOURCES = tests/fuzz/fuzz_bodystructure.c
tests_fuzz_fuzz_bodystructure_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_bodystructure_LDADD = $(FUZZ_MAIN) $(LIBS_IMAPD)
tests_fuzz_fuzz_cache_record_SOURCES = tests/fuzz/fuzz_cache_record.c
tests_fuzz_fuzz_cache_record_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_cache_record_LDADD = $(FUZZ_MAIN) $(LIBS_STORE)
tests_fuzz_fuzz_decode_SOURCES = tests/fuzz/fuzz_decode.c
tests_fuzz_fuzz_decode_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_decode_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_dkim_SOURCES = tests/fuzz/fuzz_dkim.c
tests_fuzz_fuzz_dkim_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_dkim_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_envelope_SOURCES = tests/fuzz/fuzz_envelope.c
tests_fuzz_fuzz_envelope_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_envelope_LDADD = $(FUZZ_MAIN) $(LIBS_QUEUE)
tests_fuzz_fuzz_rdata_SOURCES = tests/fuzz/fuzz_rdata.c lookup/rdata.c lookup/rdata.h
tests_fuzz_fuzz_rdata_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_rdata_LDADD = $(FUZZ_MAIN) $(LIBS_COMMON)
tests_fuzz_fuzz_replies_SOURCES = tests/fuzz/fuzz_replies.c
tests_fuzz_fuzz_replies_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_replies_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_reply_SOURCES = tests/fuzz/fuzz_reply.c
tests_fuzz_fuzz_reply_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_reply_LDADD = $(FUZZ_MAIN) $(LIBS_QUEUE)
tests_fuzz_fuzz_folder_SOURCES = tests/fuzz/fuzz_folder.c
tests_fuzz_fuzz_folder_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_folder_LDADD = $(FUZZ_MAIN) $(LIBS_STORE)
tests_fuzz_fuzz_foreign_SOURCES = tests/fuzz/fuzz_foreign.c
tests_fuzz_fuzz_foreign_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_foreign_LDADD = $(FUZZ_MAIN) $(LIBS_STORE)
tests_fuzz_fuzz_header_SOURCES = tests/fuzz/fuzz_header.c
tests_fuzz_fuzz_header_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_header_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_imap_command_SOURCES = tests/fuzz/fuzz_imap_command.c
tests_fuzz_fuzz_imap_command_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_imap_command_LDADD = $(FUZZ_MAIN) $(LIBS_IMAPD)
tests_fuzz_fuzz_imap_set_SOURCES = tests/fuzz/fuzz_imap_set.c
tests_fuzz_fuzz_imap_set_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_imap_set_LDADD = $(FUZZ_MAIN) $(LIBS_IMAPD)
tests_fuzz_fuzz_ipc_SOURCES = tests/fuzz/fuzz_ipc.c
tests_fuzz_fuzz_ipc_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_ipc_LDADD = $(FUZZ_MAIN) $(LIBS_COMMON)
tests_fuzz_fuzz_log_SOURCES = tests/fuzz/fuzz_log.c
tests_fuzz_fuzz_log_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_log_LDADD = $(FUZZ_MAIN) $(LIBS_COMMON)
tests_fuzz_fuzz_mbox_SOURCES = tests/fuzz/fuzz_mbox.c
tests_fuzz_fuzz_mbox_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_mbox_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_mime_SOURCES = tests/fuzz/fuzz_mime.c
tests_fuzz_fuzz_mime_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_mime_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_index_SOURCES = tests/fuzz/fuzz_index.c
tests_fuzz_fuzz_index_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_index_LDADD = $(FUZZ_MAIN) $(LIBS_STORE)
tests_fuzz_fuzz_mime_pack_SOURCES = tests/fuzz/fuzz_mime_pack.c
tests_fuzz_fuzz_mime_pack_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_mime_pack_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_mtasts_SOURCES = tests/fuzz/fuzz_mtasts.c
tests_fuzz_fuzz_mtasts_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_mtasts_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_name_SOURCES = tests/fuzz/fuzz_name.c
tests_fuzz_fuzz_name_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_name_LDADD = $(FUZZ_MAIN) $(LIBS_STORE)
tests_fuzz_fuzz_parent_SOURCES = tests/fuzz/fuzz_parent.c
tests_fuzz_fuzz_parent_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_parent_LDADD = $(FUZZ_MAIN) $(LIBS_SMTPD)
tests_fuzz_fuzz_pop3_command_SOURCES = tests/fuzz/fuzz_pop3_command.c
tests_fuzz_fuzz_pop3_command_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_pop3_command_LDADD = $(FUZZ_MAIN) $(LIBS_POP3D)
tests_fuzz_fuzz_preview_SOURCES = tests/fuzz/fuzz_preview.c
tests_fuzz_fuzz_preview_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_preview_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_sasl_SOURCES = tests/fuzz/fuzz_sasl.c
tests_fuzz_fuzz_sasl_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_sasl_LDADD = $(FUZZ_MAIN) $(LIBS_AUTH)
tests_fuzz_fuzz_search_SOURCES = tests/fuzz/fuzz_search.c
tests_fuzz_fuzz_search_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_search_LDADD = $(FUZZ_MAIN) $(LIBS_IMAPD)
tests_fuzz_fuzz_send_SOURCES = tests/fuzz/fuzz_send.c
tests_fuzz_fuzz_send_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_send_LDADD = $(FUZZ_MAIN) $(LIBS_QUEUE)
tests_fuzz_fuzz_settings_SOURCES = tests/fuzz/fuzz_settings.c
tests_fuzz_fuzz_settings_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_settings_LDADD = $(FUZZ_MAIN) $(LIBS_COMMON)
tests_fuzz_fuzz_smtp_command_SOURCES = tests/fuzz/fuzz_smtp_command.c
tests_fuzz_fuzz_smtp_command_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_smtp_command_LDADD = $(FUZZ_MAIN) $(LIBS_SMTPD)
tests_fuzz_fuzz_srs_SOURCES = tests/fuzz/fuzz_srs.c
tests_fuzz_fuzz_srs_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_srs_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_submitted_SOURCES = tests/fuzz/fuzz_submitted.c
tests_fuzz_fuzz_submitted_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_submitted_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)
tests_fuzz_fuzz_smtptext_SOURCES = tests/fuzz/fuzz_smtptext.c
tests_fuzz_fuzz_smtptext_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_smtptext_LDADD = $(FUZZ_MAIN) $(LIBS_MAIL)

tests_fuzz_fuzz_suppress_SOURCES = tests/fuzz/fuzz_suppress.c
tests_fuzz_fuzz_suppress_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_suppress_LDADD = $(FUZZ_MAIN) $(LIBS_QUEUE)

# Each target for SECONDS, two at a time, in a clang build of its own; ends with an error when one found something.
SECONDS = 600
fuzz:
	mkdir -p fuzz
	cd fuzz && { test -f Makefile || $(abs_top_srcdir)/configure -q --enable-fuzzing --enable-werror CC="$(FUZZ_CC)"; }
	$(MAKE) -C fuzz $(FUZZ_TARGETS)
	cd fuzz && printf '%s\n' $(FUZZ_TARGETS) | xargs -P 2 -I % sh $(abs_top_srcdir)/tests/fuzz/run % $(SECONDS) $(abs_top_srcdir)
FUZZ_CC = clang

.PHONY: fuzz
