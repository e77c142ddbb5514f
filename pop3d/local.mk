# pop3d/: floor 4, POP3
noinst_LIBRARIES += pop3d/libpop3d.a
LIBS_POP3D = pop3d/libpop3d.a $(LIBS_SESSION)
pop3d_libpop3d_a_SOURCES = \
	pop3d/pop3.h \
	pop3d/commands.c \
	pop3d/cmd_capa.c \
	pop3d/cmd_dele.c \
	pop3d/cmd_list.c \
	pop3d/cmd_noop.c \
	pop3d/cmd_quit.c \
	pop3d/cmd_retr.c \
	pop3d/cmd_stat.c \
	pop3d/cmd_uidl.c \
	pop3d/listing.c pop3d/listing.h \
	pop3d/session.c pop3d/session.h \
	pop3d/worker.c \
	pop3d/front.c

pkglibexec_PROGRAMS += pop3d/pop3d
pop3d_pop3d_SOURCES = pop3d/main.c
pop3d_pop3d_LDADD = $(LIBS_POP3D)
dist_man_MANS += man/postamt-pop3d.8

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_pop3_parse tests/unit/test_pop3_session tests/unit/test_pop3_front
TESTS += tests/unit/test_pop3_parse tests/unit/test_pop3_session tests/unit/test_pop3_front
tests_unit_test_pop3_parse_SOURCES = tests/unit/test_pop3_parse.c
tests_unit_test_pop3_parse_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_pop3_parse_LDADD = $(LIBS_POP3D) $(CMOCKA_LIBS)
tests_unit_test_pop3_session_SOURCES = tests/unit/test_pop3_session.c tests/unit/store_box.c \
	tests/unit/store_box.h
tests_unit_test_pop3_session_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_pop3_session_LDADD = $(LIBS_POP3D) $(CMOCKA_LIBS)
tests_unit_test_pop3_front_SOURCES = tests/unit/test_pop3_front.c
tests_unit_test_pop3_front_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_pop3_front_LDADD = $(LIBS_POP3D) $(CMOCKA_LIBS)
endif
