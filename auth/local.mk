# auth/: floor 3, the directory and logins; the daemon authd
noinst_LIBRARIES += auth/libauth.a
LIBS_AUTH = auth/libauth.a $(LIBS_MAIL) $(SASL_LIBS) $(JANSSON_LIBS) $(CRYPT_LIBS)
auth_libauth_a_SOURCES = \
	auth/password.c auth/password.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_password
TESTS += tests/unit/test_password
tests_unit_test_password_SOURCES = tests/unit/test_password.c
tests_unit_test_password_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_password_LDADD = $(LIBS_AUTH) $(CMOCKA_LIBS)
endif

auth_libauth_a_SOURCES += \
	auth/sasl.c auth/sasl.h \
	auth/throttle.c auth/throttle.h \
	auth/verifier.c auth/verifier.h
# Mechanisms are loaded from there; the environment has no say.
auth_libauth_a_CPPFLAGS = $(AM_CPPFLAGS) -DPOSTAMT_SASL_PLUGINS=\"$(SASL_LIBDIR)/sasl2\"

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_throttle tests/unit/test_sasl
TESTS += tests/unit/test_throttle tests/unit/test_sasl
tests_unit_test_throttle_SOURCES = tests/unit/test_throttle.c
tests_unit_test_throttle_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_throttle_LDADD = auth/libauth.a $(LIBS_COMMON) $(CMOCKA_LIBS)
tests_unit_test_sasl_SOURCES = tests/unit/test_sasl.c
tests_unit_test_sasl_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_sasl_LDADD = $(LIBS_AUTH) $(CMOCKA_LIBS)
endif
