# store/: floor 3, the Maildir
noinst_LIBRARIES += store/libstore.a
LIBS_STORE = store/libstore.a $(LIBS_MAIL) $(UNISTRING_LIBS)
store_libstore_a_SOURCES = \
	store/account.c store/account.h store/account_priv.h \
	store/append.c \
	store/array.c \
	store/assign.c \
	store/body.c \
	store/boxes.c \
	store/cache.c store/cache.h store/cache_file.c store/cache_priv.h \
	store/cache_record.c store/cache_record.h \
	store/change.c \
	store/copy.c \
	store/delivery.c store/delivery.h \
	store/expunged.c store/expunged.h \
	store/expunged_purge.c \
	store/folder.c store/folder.h \
	store/ids.c store/ids.h \
	store/foreign.c store/foreign.h store/foreign_export.c store/foreign_export.h \
	store/import.c store/import.h \
	store/index.c store/index.h \
	store/journal.c store/journal.h \
	store/keywords.c \
	store/mailbox.c store/mailbox.h store/mailbox_priv.h \
	store/meta.c store/meta.h \
	store/metadata.c store/metadata.h \
	store/name.c store/name.h \
	store/numbers.c \
	store/rename.c \
	store/scan.c \
	store/smallfiles.c \
	store/status.c \
	store/takeover.c \
	store/text.c store/text.h \
	store/undelete.c \
	store/uidl.c \
	store/verify.c store/verify.h \
	store/view.c store/view.h

if HAVE_CMOCKA
STORE_TESTS = \
	tests/unit/test_store_name \
	tests/unit/test_folder \
	tests/unit/test_foreign \
	tests/unit/test_delivery \
	tests/unit/test_expunged \
	tests/unit/test_mailbox \
	tests/unit/test_takeover \
	tests/unit/test_index \
	tests/unit/test_metadata \
	tests/unit/test_view \
	tests/unit/test_cache \
	tests/unit/test_ids
check_PROGRAMS += $(STORE_TESTS)
TESTS += $(STORE_TESTS)
STORE_TEST_LIBS = store/libstore.a $(LIBS_COMMON) $(UNISTRING_LIBS) $(CMOCKA_LIBS)
tests_unit_test_store_name_SOURCES = tests/unit/test_store_name.c
tests_unit_test_store_name_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_store_name_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_folder_SOURCES = tests/unit/test_folder.c
tests_unit_test_folder_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_folder_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_foreign_SOURCES = tests/unit/test_foreign.c
tests_unit_test_foreign_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_foreign_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_delivery_SOURCES = tests/unit/test_delivery.c tests/unit/store_box.c tests/unit/store_box.h
tests_unit_test_delivery_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_delivery_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_expunged_SOURCES = tests/unit/test_expunged.c tests/unit/store_box.c tests/unit/store_box.h
tests_unit_test_expunged_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_expunged_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_mailbox_SOURCES = tests/unit/test_mailbox.c tests/unit/store_box.c tests/unit/store_box.h
tests_unit_test_mailbox_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_mailbox_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_metadata_SOURCES = tests/unit/test_metadata.c tests/unit/store_box.c tests/unit/store_box.h
tests_unit_test_metadata_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_metadata_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_takeover_SOURCES = tests/unit/test_takeover.c tests/unit/store_box.c tests/unit/store_box.h
tests_unit_test_takeover_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_takeover_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_index_SOURCES = tests/unit/test_index.c tests/unit/store_box.c tests/unit/store_box.h
tests_unit_test_index_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_index_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_view_SOURCES = tests/unit/test_view.c tests/unit/store_box.c tests/unit/store_box.h
tests_unit_test_view_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_view_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_cache_SOURCES = tests/unit/test_cache.c tests/unit/store_box.c tests/unit/store_box.h
tests_unit_test_cache_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_cache_LDADD = $(STORE_TEST_LIBS)
tests_unit_test_ids_SOURCES = tests/unit/test_ids.c
tests_unit_test_ids_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_ids_LDADD = store/libstore.a $(LIBS_MAIL) $(CMOCKA_LIBS)
endif
