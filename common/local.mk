# common/: floor 1
noinst_LIBRARIES += common/libcommon.a
common_libcommon_a_SOURCES = \
	common/ascii.h \
	common/slice.c common/slice.h \
	common/mem.c common/mem.h \
	common/buf.c common/buf.h \
	common/arena.c common/arena.h \
	common/utf8.c common/utf8.h \
	common/call.c common/call.h common/control.c common/control.h \
	common/err.c common/err.h \
	common/log.c common/log.h \
	common/fs.c common/fs.h \
	common/id.c common/id.h \
	common/ipc.c common/ipc.h \
	common/hmap.c common/hmap.h \
	common/checksum.c common/checksum.h \
	common/role.c common/role.h common/sandbox.c common/sandbox.h common/sandbox_calls.c common/sandbox_calls.h \
	common/wiring.c common/wiring.h \
	common/secrets.c common/secrets.h common/dns.c common/dns.h common/pool.c common/pool.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_slice
TESTS += tests/unit/test_slice
tests_unit_test_slice_SOURCES = tests/unit/test_slice.c
tests_unit_test_slice_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_slice_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
endif

common_libcommon_a_SOURCES += \
	common/settings.c common/settings.h \
	common/settings_scan.c common/settings_scan.h \
	common/settings_show.c \
	common/settings_table.c common/settings_table.h \
	common/settings_value.c

dist_man_MANS += man/postamt.conf.5

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_settings
TESTS += tests/unit/test_settings
tests_unit_test_settings_SOURCES = tests/unit/test_settings.c
tests_unit_test_settings_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_settings_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
endif

common_libcommon_a_SOURCES += common/kv.c common/kv.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_kv
TESTS += tests/unit/test_kv
tests_unit_test_kv_SOURCES = tests/unit/test_kv.c
tests_unit_test_kv_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_kv_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
endif
# streams and TLS
common_libcommon_a_SOURCES += \
	common/tls.c common/tls_cert.c common/tls_client.c common/tls.h common/tls_internal.h \
	common/stream.c common/stream.h common/stream_internal.h \
	common/stream_in.c common/stream_out.c common/stream_time.c \
	common/stream_tls.c common/stream_relay.c
if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_stream tests/unit/test_tls
TESTS += tests/unit/test_stream tests/unit/test_tls
tests_unit_test_stream_SOURCES = tests/unit/test_stream.c tests/unit/test_stream_tls.c \
	tests/unit/test_stream_client.c tests/unit/test_stream.h
tests_unit_test_stream_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_stream_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
tests_unit_test_tls_SOURCES = tests/unit/test_tls.c
tests_unit_test_tls_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_tls_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
endif

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_sandbox
TESTS += tests/unit/test_sandbox
tests_unit_test_sandbox_SOURCES = tests/unit/test_sandbox.c tests/unit/sandbox_tries.c tests/unit/sandbox_tries.h
tests_unit_test_sandbox_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_sandbox_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
endif

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_fs
TESTS += tests/unit/test_fs
tests_unit_test_fs_SOURCES = tests/unit/test_fs.c
tests_unit_test_fs_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_fs_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
endif

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_checksum
TESTS += tests/unit/test_checksum
tests_unit_test_checksum_SOURCES = tests/unit/test_checksum.c
tests_unit_test_checksum_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_checksum_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
endif

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_dns
TESTS += tests/unit/test_dns
tests_unit_test_dns_SOURCES = tests/unit/test_dns.c
tests_unit_test_dns_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_dns_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
endif
