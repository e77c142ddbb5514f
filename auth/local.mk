# auth/: floor 3, the directory and logins; the daemon authd
noinst_LIBRARIES += auth/libauth.a
LIBS_AUTH = auth/libauth.a $(LIBS_MAIL) $(SASL_LIBS) $(JANSSON_LIBS) $(CRYPT_LIBS)
auth_libauth_a_SOURCES =
