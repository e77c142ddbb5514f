# common/: floor 1
noinst_LIBRARIES += common/libcommon.a
common_libcommon_a_SOURCES = \
	common/ascii.h \
	common/slice.c common/slice.h \
	common/mem.c common/mem.h \
	common/buf.c common/buf.h \
	common/arena.c common/arena.h \
	common/utf8.c common/utf8.h \
	common/err.c common/err.h \
	common/log.c common/log.h \
	common/fs.c common/fs.h \
	common/id.c common/id.h \
	common/ipc.c common/ipc.h \
	common/wiring.c common/wiring.h

common_libcommon_a_SOURCES += common/kv.c common/kv.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_kv
TESTS += tests/unit/test_kv
tests_unit_test_kv_SOURCES = tests/unit/test_kv.c
tests_unit_test_kv_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_kv_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
endif
