/*
 * directory: domains, accounts, aliases and credentials, in a kv environment that authd alone opens.
 *
 * Every change is durable when it returns, and is in the text dump `directory.dump` (0600, synced, renamed)
 * before that: a damaged environment is moved aside and rebuilt from it by directory_open. Addresses are
 * normalised (address_normalise) on the way in. Passwords are stored as crypt(3) hashes plus SCRAM verifiers,
 * never recoverable. All functions may be called from several threads. When the daemons are down the postamt
 * command opens the same environment; its lock keeps the two apart (ERR_UNAVAILABLE).
 *
 * All of it is held in memory: directory_resolve, _account_get, _may_send and the lists touch neither disk
 * nor JSON and do not wait for a change that is being made durable. A local part may have letters, digits,
 * "._-=&'" and UTF-8.
 */
#ifndef AUTH_DIRECTORY_H
#define AUTH_DIRECTORY_H

#include "common/buf.h"
#include "common/err.h"
#include "mail/address.h"
#include "mail/replies.h"

struct directory;

struct directory_account {
    char address[330]; /* normalised */
    char name[128];    /* of the person, UTF-8, may be empty */
    char hash[192];    /* crypt(3); empty: no password, cannot log in */
    char scram[256];   /* "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>", empty: none */
    uint64_t quota;    /* octets, 0: no limit */
    int64_t created;   /* seconds since 1970 */
    bool suspended;
    enum reply_language language; /* of what we write to the person */
};

/* dir: absolute path. *repaired: what was done to a damaged environment, empty if nothing. */
struct directory *directory_open(const char *dir, struct buf *repaired, struct err *e);
void directory_close(struct directory *d);

/* The open folder: the keys of domains lie below it (dkim_keys.h). */
int directory_folder(const struct directory *d);
/* Counts up with every change: caches compare it. */
uint64_t directory_generation(struct directory *d);

/* While on, changes made by this thread are checked and not made: for --dry-run. */
void directory_pretend(bool on);

int directory_domain_add(struct directory *d, struct slice domain, struct err *e);
/* ERR_EXISTS-like refusal (ERR_CANNOT) while it has accounts or aliases. */
int directory_domain_remove(struct directory *d, struct slice domain, struct err *e);
/* The domain as the directory has it: A-labels, lower case; false if it is none of ours. */
bool directory_domain_name(struct directory *d, struct slice domain, struct buf *out);
bool directory_has_domain(struct directory *d, struct slice domain);
void directory_domains(struct directory *d, void (*each)(void *ctx, struct slice domain), void *ctx);

int directory_account_add(struct directory *d, const struct directory_account *a, struct err *e);
int directory_account_get(
    struct directory *d, struct slice address, struct directory_account *out, struct err *e);
/* Replaces all but the address. */
int directory_account_set(struct directory *d, const struct directory_account *a, struct err *e);
/* The same, but only if the account is still as `before` (ERR_UNAVAILABLE): for changes that began with a
 * look. */
int directory_account_swap(struct directory *d, const struct directory_account *before,
    const struct directory_account *after, struct err *e);
int directory_account_remove(struct directory *d, struct slice address, struct err *e);
/* In order of domain, then local part, of one domain or all (empty slice). No lock is held inside each(). */
void directory_accounts(struct directory *d, struct slice domain,
    bool (*each)(void *ctx, const struct directory_account *a), void *ctx);
/* Every account that is not suspended and has a password has a SCRAM verifier (and there is at least one). */
bool directory_all_have_scram(struct directory *d);

/* An alias sends mail for one address to targets, here or elsewhere; "@domain" catches all. may_send:
 * accounts among the targets may send as the alias. */
struct directory_alias {
    char address[330];
    char target[330];
    bool deliver, may_send;
};
int directory_alias_add(struct directory *d, const struct directory_alias *a, struct err *e);
int directory_alias_remove(struct directory *d, struct slice address, struct slice target, struct err *e);
void directory_aliases(struct directory *d, struct slice domain,
    bool (*each)(void *ctx, const struct directory_alias *a), void *ctx);

struct directory_target {
    const struct directory_account *account; /* NULL: it goes elsewhere */
    const char *elsewhere;                   /* that address */
    const char *forward;                     /* the address of ours that goes there: no account, an alias */
};

/*
 * Where mail for an address goes: the accounts, and addresses elsewhere; aliases followed (depth 10, each
 * address once: S20), sub-addresses ("user+tag") tried without the tag, "postmaster" and "abuse" of a domain
 * that has neither: the first account of the domain. each() gets every one once. Returns ERR_OK, ERR_NO_USER
 * (local domain, no such address), ERR_NO_RELAY (not our domain). Suspended accounts are among them: they
 * cannot log in, their mail waits. each may be NULL.
 * "@domain" is asked before the first account of the domain is.
 */
enum err_code directory_resolve(struct directory *d, const struct address *a,
    void (*each)(void *ctx, const struct directory_target *target), void *ctx);

/* May this account write `address` as reverse-path or From? Its own, its sub-addresses, aliases with
 * may_send. */
bool directory_may_send(struct directory *d, struct slice account, const struct address *address);

/* Usage counters, unsynced; valid only after an orderly close (directory_close marks it). */
bool directory_usage_get(struct directory *d, struct slice account, uint64_t *octets, uint64_t *messages);
void directory_usage_set(struct directory *d, struct slice account, uint64_t octets, uint64_t messages);
/* Clamped at 0; false (nothing done) when the usage is not known. */
bool directory_usage_add(struct directory *d, struct slice account, int64_t octets, int64_t messages);

#endif
