# session/: floor 3, what smtpd, imapd and pop3d share
noinst_LIBRARIES += session/libsession.a
LIBS_SESSION = session/libsession.a $(LIBS_STORE)
session_libsession_a_SOURCES = session/front.c session/front.h session/front_internal.h session/front_login.c session/parent.c session/parent.h session/parent_internal.h \
	session/parent_router.c session/parent_watch.c session/spawner.c session/spawner.h \
	session/worker.c session/worker.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_session_parent
TESTS += tests/unit/test_session_parent
tests_unit_test_session_parent_SOURCES = tests/unit/test_session_parent.c
tests_unit_test_session_parent_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_session_parent_LDADD = $(LIBS_SESSION) $(CMOCKA_LIBS)
endif
