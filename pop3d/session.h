/*
 * session: the driver of one POP3 session, for the worker; commands see pop3d/pop3.h only.
 *
 * A session lives from pop3_session_new, which answers the login, to its end, which it finds by itself: QUIT,
 * the end of the connection, idleness. ws->state points to it meanwhile.
 */
#ifndef POP3D_SESSION_H
#define POP3D_SESSION_H

#include "pop3d/pop3.h"

/* tag: the SASL mechanisms the front announces. */
void pop3_session_new(struct worker_session *ws, struct slice tag);
/* Ends it with the sentence of the code; nothing is deleted. */
void pop3_session_kill(struct pop3_session *s, enum err_code code);

/* worker.c: the user's INBOX, looked at this moment; the caller closes it. */
struct mailbox *pop3_open_inbox(struct worker *w, struct err *e);

#endif
