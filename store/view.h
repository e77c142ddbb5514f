/*
 * view: what one session knows of a mailbox: its sequence numbers.
 *
 * The list of UIDs that were announced, in order; sequence number = place + 1. The mailbox may be ahead:
 * view_sync tells the session what happened, in the order IMAP wants (expunges from the highest number down,
 * new total, flags), and the view follows. Expunges may be held back (RFC 3501 5.5, 7.4.1: not during FETCH,
 * STORE, SEARCH).
 */
#ifndef STORE_VIEW_H
#define STORE_VIEW_H

#include "store/mailbox.h"

struct view;

struct view_events {
    /* Sequence number (and UID) that is gone; numbers above it are one less from now on. */
    void (*expunged)(void *ctx, uint32_t seq, uint32_t uid);
    /* The mailbox has now this many messages, so many of them recent for this session. */
    void (*exists)(void *ctx, uint32_t count, uint32_t recent);
    void (*flags)(void *ctx, uint32_t seq, const struct message *msg, bool recent);
    /* The mailbox got keywords the session has not seen. */
    void (*keywords)(void *ctx);
};

/* The mailbox must outlive the view. read_only views do not take \Recent. */
struct view *view_new(struct mailbox *m, bool read_only);
void view_free(struct view *v);
struct mailbox *view_mailbox(struct view *v);

uint32_t view_count(const struct view *v);
uint32_t view_recent(const struct view *v);
/* seq 1..count; 0 for anything else */
uint32_t view_uid(const struct view *v, uint32_t seq);
/* 0 when the UID is not in the view */
uint32_t view_seq(const struct view *v, uint32_t uid);
/* Sequence number of the first message with UID >= uid; count + 1 if none. */
uint32_t view_lower_bound(const struct view *v, uint32_t uid);
bool view_is_recent(const struct view *v, uint32_t uid);
/* The view knows of this change already (a STORE answered itself; .SILENT): no flags event for it. */
void view_seen_change(struct view *v, uint32_t uid, uint64_t modseq);

/* True if view_sync would tell anything. */
bool view_has_news(const struct view *v);
/* Does not look at the disk: call mailbox_refresh before. */
void view_sync(struct view *v, bool with_expunges, const struct view_events *events, void *ctx);

#endif
