# auth/: floor 3, the directory and logins; the daemon authd
noinst_LIBRARIES += auth/libauth.a
LIBS_AUTH = auth/libauth.a $(LIBS_MAIL) $(SASL_LIBS) $(JANSSON_LIBS) $(CRYPT_LIBS)
auth_libauth_a_SOURCES = \
	auth/password.c auth/password.h \
	auth/admin.c auth/admin.h auth/admin_account.c auth/admin_names.c auth/admin_call.h \
	auth/dkim_keys.c auth/dkim_keys.h auth/admin_dkim.c \
	auth/directory.c auth/directory.h auth/directory_priv.h auth/directory_list.c auth/directory_usage.c \
	auth/directory_name.c auth/directory_name.h \
	auth/directory_record.c auth/directory_resolve.c \
	auth/directory_store.c auth/directory_store.h \
	auth/directory_table.c auth/directory_table.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_password tests/unit/test_directory tests/unit/test_admin tests/unit/test_dkim_keys
TESTS += tests/unit/test_password tests/unit/test_directory tests/unit/test_admin tests/unit/test_dkim_keys
tests_unit_test_dkim_keys_SOURCES = tests/unit/test_dkim_keys.c
tests_unit_test_dkim_keys_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_dkim_keys_LDADD = $(LIBS_AUTH) $(CMOCKA_LIBS)
tests_unit_test_admin_SOURCES = tests/unit/test_admin.c
tests_unit_test_admin_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_admin_LDADD = $(LIBS_AUTH) $(CMOCKA_LIBS)
tests_unit_test_password_SOURCES = tests/unit/test_password.c
tests_unit_test_password_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_password_LDADD = $(LIBS_AUTH) $(CMOCKA_LIBS)
tests_unit_test_directory_SOURCES = tests/unit/test_directory.c
tests_unit_test_directory_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_directory_LDADD = $(LIBS_AUTH) $(CMOCKA_LIBS)
endif

pkglibexec_PROGRAMS += auth/authd
auth_authd_SOURCES = auth/authd.c auth/authd.h auth/authd_admin.c auth/authd_keys.c auth/authd_login.c \
	auth/authd_mail.c
auth_authd_LDADD = auth/libauth.a store/libstore.a $(LIBS_AUTH)
auth_libauth_a_SOURCES += \
	auth/sasl.c auth/sasl.h \
	auth/throttle.c auth/throttle.h \
	auth/verifier.c auth/verifier.h
# Mechanisms are loaded from there; the environment has no say.
auth_libauth_a_CPPFLAGS = $(AM_CPPFLAGS) -DPOSTAMT_SASL_PLUGINS=\"$(SASL_LIBDIR)/sasl2\"

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/test_authd_mail tests/unit/test_throttle tests/unit/test_sasl tests/unit/test_login_time
TESTS += tests/unit/test_authd_mail tests/unit/test_throttle tests/unit/test_sasl tests/unit/test_login_time
tests_unit_test_authd_mail_SOURCES = tests/unit/test_authd_mail.c auth/authd_mail.c auth/authd_keys.c
tests_unit_test_authd_mail_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_authd_mail_LDADD = auth/libauth.a store/libstore.a $(LIBS_AUTH) $(CMOCKA_LIBS)
tests_unit_test_login_time_SOURCES = tests/unit/test_login_time.c
tests_unit_test_login_time_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_login_time_LDADD = $(LIBS_AUTH) $(CMOCKA_LIBS) -lm
tests_unit_test_throttle_SOURCES = tests/unit/test_throttle.c
tests_unit_test_throttle_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_throttle_LDADD = auth/libauth.a $(LIBS_COMMON) $(CMOCKA_LIBS)
tests_unit_test_sasl_SOURCES = tests/unit/test_sasl.c
tests_unit_test_sasl_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_sasl_LDADD = $(LIBS_AUTH) $(CMOCKA_LIBS)
endif
