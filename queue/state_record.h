/*
 * state_record: how a record of queue/state.h looks in its table. Pure; used by state.c and its tests only.
 *
 * Keys: the id for the message, the id and the recipient's place (2 octets, the higher first) for a
 * recipient, so that one walk finds each message and then its recipients. Values begin with a version;
 * numbers are little-endian, strings have their length in front.
 */
#ifndef QUEUE_STATE_RECORD_H
#define QUEUE_STATE_RECORD_H

#include "queue/state.h"

#define STATE_KEY_MAX (ID_LEN + 2)

size_t state_key(char key[STATE_KEY_MAX], const struct id *id, const uint32_t *index);
/* 1: of a message, 2: of a recipient, 0: neither */
int state_key_parse(struct slice key, struct id *id, uint32_t *index);

void state_message_encode(struct buf *out, const struct state_message *m);
/* m->id is left alone: it stands in the key. */
bool state_message_decode(struct slice in, struct state_message *m);
void state_recipient_encode(struct buf *out, const struct state_recipient *r);
bool state_recipient_decode(struct slice in, struct state_recipient *r);

#endif
