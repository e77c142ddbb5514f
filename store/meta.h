/*
 * meta: the file `postamt-mailbox`, the durable part of a mailbox' numbering.
 *
 *     postamt-mailbox 1
 *     uidvalidity 1760000000
 *     id 0123456789abcdef0123456789abcdef
 *     uidnext 1025
 *     modseq 1025
 *     list 8412093471203
 *
 * uidnext and modseq are ceilings: no number at or above them was ever given out. They are raised in blocks,
 * so that a number costs a durable write only once in so many. list: the list of another server with this
 * stamp (store/foreign.h) has served and is not read again; 0 or absent: none has.
 */
#ifndef STORE_META_H
#define STORE_META_H

#include "common/buf.h"
#include "common/err.h"

#define META_FILE "postamt-mailbox"
#define META_BLOCK 1024
#define META_MODSEQ_BLOCK 16384 /* every flag change takes one, and there are 2^63 */

struct meta {
    uint32_t uidvalidity;
    char id[33];
    uint64_t uidnext; /* at most 2^32: then UIDs are used up */
    uint64_t modseq;
    uint64_t list;
};

/* Fresh: new id, ceilings 1. */
void meta_init(struct meta *m, uint32_t uidvalidity);
bool meta_parse(struct slice text, struct meta *out);
void meta_format(const struct meta *m, struct buf *out);
/* 1: loaded, 0: there is none; ERR_CORRUPT for a damaged one, which is never overwritten. */
int meta_load(int dir, struct meta *out, struct err *e);
/* Durable when it returns. */
int meta_store(int state_dir, int dir, const struct meta *m, struct err *e);

#endif
