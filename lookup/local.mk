# lookup/: floor 3, the two roles that ask the world: names (resolverd) and MTA-STS policies (fetchd)
pkglibexec_PROGRAMS += lookup/resolverd lookup/fetchd
lookup_resolverd_SOURCES = lookup/resolverd.c lookup/rdata.c lookup/rdata.h
lookup_resolverd_LDADD = $(LIBS_COMMON) $(UNBOUND_LIBS)
lookup_fetchd_SOURCES = lookup/fetchd.c
lookup_fetchd_LDADD = $(LIBS_COMMON) $(CURL_LIBS)
