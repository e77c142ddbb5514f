# store/: floor 3, the Maildir
noinst_LIBRARIES += store/libstore.a
LIBS_STORE = store/libstore.a $(LIBS_MAIL)
store_libstore_a_SOURCES =
