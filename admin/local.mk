# admin/: floor 4, the postamt command; one file per noun
noinst_LIBRARIES += admin/libadmin.a
LIBS_ADMIN = admin/libadmin.a queue/libqueue.a store/libstore.a $(LIBS_AUTH)
admin_libadmin_a_SOURCES = \
	admin/account.c admin/alias.c admin/config.c admin/dns.c admin/domain.c admin/password.c admin/queue.c admin/status.c \
	admin/args.c admin/args.h \
	admin/ask.c admin/ask.h \
	admin/cli.c admin/cli.h \
	admin/fault.c admin/fault.h \
	admin/link.c admin/link.h \
	admin/mailbox_common.c admin/mailbox_common.h \
	admin/mailbox_undelete.c \
	admin/mailbox_boxes.c admin/mailbox_check.c admin/mailbox_export.c admin/mailbox_files.h \
	admin/mailbox_import.c \
	admin/output.c admin/output.h \
	admin/progress.c admin/progress.h \
	admin/rights.c admin/rights.h \
	admin/secret.h \
	admin/verbs.c admin/verbs.h

bin_PROGRAMS += postamt
postamt_SOURCES = admin/main.c
postamt_LDADD = $(LIBS_ADMIN)

dist_man_MANS += man/postamt.1 man/postamt-account.1 man/postamt-alias.1 man/postamt-config.1 man/postamt-domain.1 \
	man/postamt-mailbox.1 man/postamt-password.1 man/postamt-queue.1 man/postamt-status.1

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_cli_args
TESTS += tests/unit/test_cli_args
tests_unit_test_cli_args_SOURCES = tests/unit/test_cli_args.c
tests_unit_test_cli_args_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_cli_args_LDADD = $(LIBS_ADMIN) $(CMOCKA_LIBS)
endif
