/* front: what imapd gives to session/front.h: IMAP up to the login. */
#ifndef IMAPD_FRONT_H
#define IMAPD_FRONT_H

#include "session/front.h"

extern const struct front_ops imapd_front_ops;

#endif
