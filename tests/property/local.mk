# tests/property/: the store against a model. make check tells some hundred seeds, make check-long thousands.
check_PROGRAMS += tests/property/store_model tests/property/scan_rule tests/property/damage
tests_property_store_model_SOURCES = tests/property/store_model.c tests/property/model.h tests/property/worker.c \
	tests/property/tree.c tests/property/oracle.c tests/property/lockstep.c tests/property/free.c
tests_property_store_model_LDADD = store/libstore.a $(LIBS_COMMON) $(UNISTRING_LIBS)
tests_property_scan_rule_SOURCES = tests/property/scan_rule.c
tests_property_scan_rule_LDADD = store/libstore.a $(LIBS_COMMON) $(UNISTRING_LIBS)
tests_property_damage_SOURCES = tests/property/damage.c tests/property/model.h tests/property/worker.c tests/property/tree.c \
	tests/property/oracle.c
tests_property_damage_LDADD = store/libstore.a $(LIBS_COMMON) $(UNISTRING_LIBS)
