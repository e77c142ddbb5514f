# lookup/: floor 3, the two roles that ask the world: names (resolverd) and MTA-STS policies (fetchd)
pkglibexec_PROGRAMS += lookup/resolverd lookup/fetchd
lookup_resolverd_SOURCES = lookup/resolverd.c lookup/rdata.c lookup/rdata.h
lookup_resolverd_LDADD = $(LIBS_COMMON) $(UNBOUND_LIBS)
dist_man_MANS += man/postamt-resolverd.8
lookup_fetchd_SOURCES = lookup/fetchd.c
lookup_fetchd_LDADD = $(LIBS_COMMON) $(CURL_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_rdata
TESTS += tests/unit/test_rdata
tests_unit_test_rdata_SOURCES = tests/unit/test_rdata.c lookup/rdata.c lookup/rdata.h
tests_unit_test_rdata_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_rdata_LDADD = $(LIBS_COMMON) $(CMOCKA_LIBS)
endif
dist_man_MANS += man/postamt-fetchd.8
