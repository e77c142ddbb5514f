# mail/: floor 2, the message itself; no I/O
noinst_LIBRARIES += mail/libmail.a
mail_libmail_a_SOURCES = \
	mail/address.c mail/address.h \
	mail/smtptext.c mail/smtptext.h \
	mail/header.c mail/header.h \
	mail/mime.c mail/mime.h \
	mail/decode.c mail/decode.h \
	mail/trace.c mail/trace.h
