# mail/: floor 2, the message itself; no I/O
EXTRA_DIST += tests/unit/dsn_parse.py
noinst_LIBRARIES += mail/libmail.a
mail_libmail_a_SOURCES = \
	mail/address.c mail/address.h \
	mail/smtptext.c mail/smtptext.h \
	mail/header.c mail/header.h mail/header_address.c mail/header_date.c mail/header_lex.c mail/header_lex.h \
	mail/header_param.c mail/header_subject.c \
	mail/header_keys.c mail/header_keys.h \
	mail/mime.c mail/mime.h mail/mime_pack.c mail/mime_pack.h \
	mail/preview.c mail/preview.h \
	mail/decode.h mail/decode_charset.c mail/decode_fold.c mail/decode_transfer.c mail/decode_words.c \
	mail/mbox.c mail/mbox.h \
	mail/dsn.c mail/dsn.h mail/dsn_text.c mail/dsn_text.h \
	mail/replies.c mail/replies.h mail/replies_rows.c mail/replies_rules.c mail/replies_table.h \
	mail/base64.c mail/text.c mail/text.h \
	mail/dkim.c mail/dkim.h mail/dkim_canon.c mail/dkim_canon.h mail/dkim_key.c \
	mail/mtasts.c mail/mtasts.h mail/srs.c mail/srs.h mail/submitted.c mail/submitted.h \
	mail/trace.c mail/trace.h

if HAVE_CMOCKA
MAIL_TESTS = tests/unit/test_address tests/unit/test_smtptext tests/unit/test_trace tests/unit/test_header \
	tests/unit/test_mime tests/unit/test_decode tests/unit/test_header_keys tests/unit/test_preview \
	tests/unit/test_mbox tests/unit/test_dkim tests/unit/test_dsn tests/unit/test_replies \
	tests/unit/test_mtasts tests/unit/test_srs tests/unit/test_submitted
check_PROGRAMS += $(MAIL_TESTS)
TESTS += $(MAIL_TESTS)
tests_unit_test_mtasts_SOURCES = tests/unit/test_mtasts.c
tests_unit_test_mtasts_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_mtasts_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_dkim_SOURCES = tests/unit/test_dkim.c
tests_unit_test_dkim_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_dkim_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_address_SOURCES = tests/unit/test_address.c
tests_unit_test_address_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_address_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_smtptext_SOURCES = tests/unit/test_smtptext.c
tests_unit_test_smtptext_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_smtptext_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_trace_SOURCES = tests/unit/test_trace.c
tests_unit_test_trace_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_trace_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_header_SOURCES = tests/unit/test_header.c
tests_unit_test_header_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_header_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_mime_SOURCES = tests/unit/test_mime.c
tests_unit_test_mime_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_mime_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_mbox_SOURCES = tests/unit/test_mbox.c
tests_unit_test_mbox_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_mbox_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_decode_SOURCES = tests/unit/test_decode.c
tests_unit_test_decode_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_decode_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_header_keys_SOURCES = tests/unit/test_header_keys.c
tests_unit_test_header_keys_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_header_keys_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_preview_SOURCES = tests/unit/test_preview.c
tests_unit_test_preview_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_preview_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_replies_SOURCES = tests/unit/test_replies.c
tests_unit_test_replies_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_replies_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_srs_SOURCES = tests/unit/test_srs.c
tests_unit_test_srs_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_srs_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_submitted_SOURCES = tests/unit/test_submitted.c
tests_unit_test_submitted_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_submitted_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
tests_unit_test_dsn_SOURCES = tests/unit/test_dsn.c
tests_unit_test_dsn_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_dsn_LDADD = $(LIBS_MAIL) $(CMOCKA_LIBS)
# what it writes, read by another implementation
TESTS += tests/unit/dsn_parse.py
endif

# Signs for tests/e2e/dkim_verify.py.
check_PROGRAMS += tests/unit/dkim_sign
tests_unit_dkim_sign_SOURCES = tests/unit/dkim_sign.c
tests_unit_dkim_sign_LDADD = $(LIBS_MAIL)
