/*
 * account: one user's part of the store: his mailboxes, subscriptions and special uses.
 *
 * mail/<domain>/<local part>/Maildir holds what is true, state/<domain>/<local part>/ what is derived or
 * being written (doc/ARCHITECTURE, "the store"). Opening needs both folders; account_create makes them. The
 * object belongs to one thread; several processes may have the same account open: what changes durable files
 * takes flock on the folder concerned. Blocking calls, local files only.
 */
#ifndef STORE_ACCOUNT_H
#define STORE_ACCOUNT_H

#include "common/arena.h"
#include "store/folder.h"

struct account;

/* Once in a process, before the sandbox: learns the kernel's boot id (an index of another boot is not
 * believed). Without it, or when it fails, every index of another process counts as another boot's. */
int store_init(struct err *e);

/*
 * "domain/local part" as a relative path below mail/ and state/ for a normalised address (lower case): octets
 * outside [a-z0-9_+=.@-] and a leading dot become %XX. ERR_NO_USER if it cannot be.
 */
int account_path(struct slice address, struct buf *out, struct err *e);

/*
 * Makes the folders only: mail/<path>/Maildir/{cur,new,tmp} and, when state_root >= 0, state/<path>. Nothing
 * but mkdir and fsync of the parents: deliver and the spawner may. Cheap when all is there. Safe to repeat.
 */
int account_make_dirs(int mail_root, int state_root, struct slice path, struct err *e);
/* First login: INBOX, Drafts, Sent, Trash, Junk, Archive, subscribed, with their special uses, unless the
 * account has been furnished before. Staged in state/; the worker does it. Safe to repeat. */
int account_furnish(struct account *a, struct err *e);

/* mail_dir: fd of mail/<path>; state_dir: fd of state/<path>; both are taken over (closed by account_close),
 * on failure too. */
struct account *account_open(int mail_dir, int state_dir, struct err *e);
void account_close(struct account *a);

/*
 * Work for idle time: names that got their UID by a list get it into the name (mailbox_adopt_step). `due` is
 * called when there is some; account_idle_step does a millisecond of it, true while more is left.
 */
void account_on_idle_work(struct account *a, void (*due)(void *ctx), void *ctx);
bool account_idle_step(struct account *a);

/* Special uses (RFC 6154); at most one holder each. */
enum special_use {
    USE_NONE,
    USE_ALL,
    USE_ARCHIVE,
    USE_DRAFTS,
    USE_FLAGGED,
    USE_JUNK,
    USE_SENT,
    USE_TRASH,
    USE_COUNT
};
/* "\\Sent" .. "" for USE_NONE */
const char *special_use_name(enum special_use use);

struct account_mailbox {
    struct slice name; /* UTF-8 */
    bool exists;       /* has a folder; false: a parent that only names imply, or only a subscription */
    bool subscribed;
    bool has_children;
    enum special_use use;
};

/*
 * All mailboxes, parents that only names imply included, INBOX first, then sorted by name; subscriptions to
 * what does not exist are in it (exists false) when with_subscriptions. The array lives in the arena. -1 with
 * the error.
 */
ssize_t account_list(struct account *a, bool with_subscriptions, struct arena *arena,
    struct account_mailbox **out, struct err *e);
bool account_has(struct account *a, struct slice name);

/* Durable when they return. Missing parents are created by account_mailbox_create. */
int account_mailbox_create(struct account *a, struct slice name, enum special_use use, struct err *e);
/* INBOX cannot be; one with children loses its messages and stays as \Noselect only through its children.
 * What it had is kept for a while (store/expunged.h). */
int account_mailbox_delete(struct account *a, struct slice name, struct err *e);
/* The same; *octets and *messages: what it had, for the quota. */
int account_mailbox_delete_counted(
    struct account *a, struct slice name, uint64_t *octets, uint64_t *messages, struct err *e);
/* Children move along. INBOX: its messages move to the new mailbox, INBOX stays (RFC 3501 6.3.5). */
int account_mailbox_rename(struct account *a, struct slice from, struct slice to, struct err *e);
int account_subscribe(struct account *a, struct slice name, bool on, struct err *e);

/* fd of the mailbox' folder in mail/ (INBOX: Maildir itself) and of its own folder in state/ (made if
 * missing). The caller closes both. ERR_NO_MAILBOX. */
int account_open_mailbox_dirs(
    struct account *a, struct slice name, int *mail_dir, int *state_dir, struct err *e);

#endif
