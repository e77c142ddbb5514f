# smtpd/: floor 4, receiving mail: the SMTP front, the parent with its transactions, the delivers
noinst_LIBRARIES += smtpd/libsmtpd.a
LIBS_SMTPD = smtpd/libsmtpd.a queue/libqueue.a $(LIBS_SESSION)
smtpd_libsmtpd_a_SOURCES = \
	smtpd/smtpd.h smtpd/commands.c smtpd/front.c \
	smtpd/cmd_auth.c smtpd/cmd_bdat.c smtpd/cmd_data.c smtpd/cmd_helo.c smtpd/cmd_mail.c smtpd/cmd_misc.c \
	smtpd/cmd_rcpt.c smtpd/cmd_starttls.c \
	smtpd/parse.c smtpd/parse.h smtpd/text.c smtpd/text.h \
	smtpd/parent.c smtpd/parent.h smtpd/transaction.c smtpd/enqueue.c smtpd/pool.c \
	smtpd/deliver.c smtpd/roles.h

pkglibexec_PROGRAMS += smtpd/smtpd
smtpd_smtpd_SOURCES = smtpd/main.c
smtpd_smtpd_LDADD = $(LIBS_SMTPD)
dist_man_MANS += man/postamt-smtpd.8

if HAVE_CMOCKA
SMTPD_TESTS = tests/unit/test_smtp_parent tests/unit/test_smtp_parse tests/unit/test_smtp_session
check_PROGRAMS += $(SMTPD_TESTS)
TESTS += $(SMTPD_TESTS)
tests_unit_test_smtp_parse_SOURCES = tests/unit/test_smtp_parse.c
tests_unit_test_smtp_parse_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_smtp_parse_LDADD = $(LIBS_SMTPD) $(CMOCKA_LIBS)
tests_unit_test_smtp_session_SOURCES = tests/unit/test_smtp_session.c
tests_unit_test_smtp_session_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_smtp_session_LDADD = $(LIBS_SMTPD) $(CMOCKA_LIBS)
tests_unit_test_smtp_parent_SOURCES = tests/unit/test_smtp_parent.c
tests_unit_test_smtp_parent_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_smtp_parent_LDADD = $(LIBS_SMTPD) $(CMOCKA_LIBS)
endif
