# imapd/: floor 4, IMAP
noinst_LIBRARIES += imapd/libimapd.a
LIBS_IMAPD = imapd/libimapd.a $(LIBS_SESSION)
imapd_libimapd_a_SOURCES = \
	imapd/imap.h \
	imapd/parse.c imapd/parse_date.c imapd/parse_set.c imapd/write.c imapd/parse.h \
	imapd/words.c imapd/words.h \
	imapd/reader.c imapd/reader.h \
	imapd/set_walk.c imapd/set_walk.h \
	imapd/session.c imapd/session.h \
	imapd/selected.c imapd/flags.c imapd/targets.c imapd/arguments.c \
	imapd/commands.c imapd/commands.h \
	imapd/cmd_append.c \
	imapd/cmd_capability.c \
	imapd/cmd_check.c \
	imapd/cmd_close.c \
	imapd/cmd_copy.c \
	imapd/cmd_create.c \
	imapd/cmd_delete.c \
	imapd/cmd_enable.c \
	imapd/cmd_expunge.c imapd/expunge.h \
	imapd/cmd_fetch.c imapd/fetch.h imapd/fetch_items.c imapd/fetch_envelope.c imapd/fetch_bodystructure.c \
	imapd/fetch_section.c imapd/fetch_tree.c imapd/fetch_tree.h \
	imapd/known.c imapd/known.h \
	imapd/cmd_id.c \
	imapd/cmd_idle.c \
	imapd/cmd_list.c imapd/list.c imapd/list.h imapd/list_parse.c \
	imapd/cmd_logout.c \
	imapd/cmd_lsub.c \
	imapd/cmd_namespace.c \
	imapd/cmd_noop.c \
	imapd/cmd_rename.c \
	imapd/cmd_search.c imapd/search.h imapd/search_parse.c imapd/search_match.c imapd/search_text.c \
	imapd/cmd_select.c \
	imapd/cmd_status.c imapd/status.h \
	imapd/cmd_store.c \
	imapd/cmd_subscribe.c \
	imapd/cmd_unselect.c \
	imapd/cmd_xlist.c \
	imapd/worker.c imapd/worker.h \
	imapd/front.c imapd/front.h

pkglibexec_PROGRAMS += imapd/imapd
imapd_imapd_SOURCES = imapd/main.c
imapd_imapd_LDADD = $(LIBS_IMAPD)
dist_man_MANS += man/postamt-imapd.8

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_imap_parse tests/unit/test_imap_reader tests/unit/test_imap_session \
	tests/unit/test_imap_front
TESTS += tests/unit/test_imap_parse tests/unit/test_imap_reader tests/unit/test_imap_session \
	tests/unit/test_imap_front
tests_unit_test_imap_parse_SOURCES = tests/unit/test_imap_parse.c
tests_unit_test_imap_parse_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_imap_parse_LDADD = $(LIBS_IMAPD) $(CMOCKA_LIBS)
tests_unit_test_imap_reader_SOURCES = tests/unit/test_imap_reader.c
tests_unit_test_imap_reader_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_imap_reader_LDADD = $(LIBS_IMAPD) $(CMOCKA_LIBS)
tests_unit_test_imap_front_SOURCES = tests/unit/test_imap_front.c
tests_unit_test_imap_front_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_imap_front_LDADD = $(LIBS_IMAPD) $(CMOCKA_LIBS)
tests_unit_test_imap_session_SOURCES = tests/unit/test_imap_session.c
tests_unit_test_imap_session_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_imap_session_LDADD = $(LIBS_IMAPD) $(CMOCKA_LIBS)
endif

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_fetch_render tests/unit/test_search tests/unit/test_cmd_fetch
TESTS += tests/unit/test_fetch_render tests/unit/test_search tests/unit/test_cmd_fetch
tests_unit_test_fetch_render_SOURCES = tests/unit/test_fetch_render.c
tests_unit_test_fetch_render_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_fetch_render_LDADD = $(LIBS_IMAPD) $(CMOCKA_LIBS)
tests_unit_test_search_SOURCES = tests/unit/test_search.c
tests_unit_test_search_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_search_LDADD = $(LIBS_IMAPD) $(CMOCKA_LIBS)
# plays mailbox, view and driver itself
tests_unit_test_cmd_fetch_SOURCES = tests/unit/test_cmd_fetch.c
tests_unit_test_cmd_fetch_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_cmd_fetch_LDADD = $(LIBS_IMAPD) $(CMOCKA_LIBS)
endif
