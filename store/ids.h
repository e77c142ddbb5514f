/*
 * ids: the object identifiers of a message (RFC 8474), from what every copy of it has. Pure functions.
 *
 * Nothing is stored: an id is a letter and the first 96 bits of a SHA-256 in hexadecimal. EMAILID is that of
 * the file name's unique part without what COPY adds, so it survives a lost index, rsync and restore.
 * THREADID is that of the oldest message id a message names; messages that answer each other name the same.
 */
#ifndef STORE_IDS_H
#define STORE_IDS_H

#include "common/slice.h"

#define ID_OCTETS 25
/* 25 characters and a NUL. */
struct message_id {
    char text[ID_OCTETS + 1];
};

/* RFC 8474 5.1; file: the name in cur/. */
struct message_id emailid_of(const char *file);
/*
 * RFC 8474 5.2; header: the message's header section, or its key fields (mail/header_keys.h). The first id of
 * References, else of In-Reply-To, else of Message-ID, else the EMAILID.
 */
struct message_id threadid_of(struct slice header, const char *file);

#endif
