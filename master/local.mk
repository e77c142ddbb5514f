# master/: floor 5, postamtd
sbin_PROGRAMS += postamtd
postamtd_SOURCES = master/postamtd.c master/master.h master/roles.c master/listen.c master/folders.c master/certs.c \
	master/logger.c master/control.c
postamtd_LDADD = $(LIBS_COMMON) $(JANSSON_LIBS)
