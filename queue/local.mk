# queue/: floor 3, what waits to go out; no processes here, no network
noinst_LIBRARIES += queue/libqueue.a
LIBS_QUEUE = queue/libqueue.a $(LIBS_MAIL)
queue_libqueue_a_SOURCES = \
	queue/admin.c queue/admin.h queue/admin_call.h queue/admin_change.c queue/admin_select.c queue/admin_show.c \
	queue/admin_suppress.c \
	queue/due.c queue/keys.c queue/keys.h queue/prepare.c queue/prepare.h queue/textfile.c queue/textfile.h \
	queue/envelope.c queue/envelope.h queue/request.c queue/request.h queue/fetch.h \
	queue/reply.c queue/reply.h queue/route.c queue/route.h queue/send.c queue/send.h \
	queue/finding.c queue/finding.h queue/finding_internal.h queue/finding_route.c \
	queue/policy.c queue/policy.h queue/router.c queue/router_rules.c queue/router_rules.h \
	queue/schedule.c queue/schedule.h queue/schedule_rules.c \
	queue/spool.c queue/spool.h \
	queue/state.c queue/state.h queue/state_record.c queue/state_record.h \
	queue/suppress.c queue/suppress.h

if HAVE_CMOCKA
QUEUE_TESTS = tests/unit/test_envelope tests/unit/test_spool tests/unit/test_schedule tests/unit/test_queue_state \
	tests/unit/test_send tests/unit/test_suppress tests/unit/test_queue_admin tests/unit/test_reply \
	tests/unit/test_router
check_PROGRAMS += $(QUEUE_TESTS)
TESTS += $(QUEUE_TESTS)
tests_unit_test_envelope_SOURCES = tests/unit/test_envelope.c
tests_unit_test_envelope_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_envelope_LDADD = $(LIBS_QUEUE) $(CMOCKA_LIBS)
tests_unit_test_spool_SOURCES = tests/unit/test_spool.c
tests_unit_test_spool_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_spool_LDADD = $(LIBS_QUEUE) $(CMOCKA_LIBS)
tests_unit_test_schedule_SOURCES = tests/unit/test_schedule.c
tests_unit_test_schedule_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_schedule_LDADD = $(LIBS_QUEUE) $(CMOCKA_LIBS)
# a queue for tests of the postamt command, and who answers for it
check_PROGRAMS += tests/unit/queue_fill tests/unit/queue_serve
tests_unit_queue_serve_SOURCES = tests/unit/queue_serve.c
tests_unit_queue_serve_LDADD = $(LIBS_QUEUE) $(JANSSON_LIBS)
tests_unit_queue_fill_SOURCES = tests/unit/queue_fill.c
tests_unit_queue_fill_LDADD = $(LIBS_QUEUE) $(JANSSON_LIBS)
tests_unit_test_queue_admin_SOURCES = tests/unit/test_queue_admin.c
tests_unit_test_queue_admin_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_queue_admin_LDADD = $(LIBS_QUEUE) $(JANSSON_LIBS) $(CMOCKA_LIBS)
tests_unit_test_suppress_SOURCES = tests/unit/test_suppress.c
tests_unit_test_suppress_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_suppress_LDADD = $(LIBS_QUEUE) $(CMOCKA_LIBS)
tests_unit_test_queue_state_SOURCES = tests/unit/test_queue_state.c
tests_unit_test_queue_state_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_queue_state_LDADD = $(LIBS_QUEUE) $(CMOCKA_LIBS)
tests_unit_test_reply_SOURCES = tests/unit/test_reply.c
tests_unit_test_reply_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_reply_LDADD = $(LIBS_QUEUE) $(CMOCKA_LIBS)
tests_unit_test_send_SOURCES = tests/unit/test_send.c
tests_unit_test_send_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_send_LDADD = $(LIBS_QUEUE) $(CMOCKA_LIBS)
tests_unit_test_router_SOURCES = tests/unit/test_router.c
tests_unit_test_router_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_router_LDADD = $(LIBS_QUEUE) $(CMOCKA_LIBS)
endif

pkglibexec_PROGRAMS += queue/queued queue/sender
queue_queued_SOURCES = queue/queued.c queue/queued.h queue/queued_accept.c queue/queued_control.c queue/queued_inject.c \
	queue/queued_notify.c queue/queued_run.c queue/queued_table.c
dist_man_MANS += man/postamt-queued.8
queue_queued_LDADD = $(LIBS_QUEUE) $(JANSSON_LIBS)
queue_sender_SOURCES = queue/sender.c queue/sender.h queue/sender_internal.h queue/sender_conn.c \
	queue/sender_dialogue.c queue/sender_engine.c queue/sender_text.c
queue_sender_LDADD = $(LIBS_QUEUE)
dist_man_MANS += man/postamt-sender.8
