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

pkglibexec_PROGRAMS += auth/authd
auth_authd_SOURCES = auth/authd.c auth/authd.h auth/authd_admin.c auth/authd_login.c auth/authd_mail.c auth/pool.c auth/pool.h
auth_authd_LDADD = auth/libauth.a store/libstore.a $(LIBS_AUTH)
