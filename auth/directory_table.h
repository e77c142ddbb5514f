/*
 * directory_table: the directory's entries in memory: sorted arrays of pointers, and where mail goes.
 *
 * Order: domain, then local part, then target. A look-up is a binary search of some 17 comparisons in 100,000
 * accounts: no hash, so nothing to flood (security.md I09), and a domain's accounts lie side by side. An
 * insertion moves pointers only. The caller locks.
 */
#ifndef AUTH_DIRECTORY_TABLE_H
#define AUTH_DIRECTORY_TABLE_H

#include "auth/directory.h"
#include "auth/directory_store.h"

/* The head of each kind; slices point behind the entry, into the same allocation. A domain has no local part.
 */
struct entry {
    struct slice address, domain, local, target;
    int64_t created;
    uint64_t serial; /* order of being added */
};

struct entry_account {
    struct entry entry;
    struct slice name, hash, scram;
    uint64_t quota, octets, messages;
    bool suspended, usage_known;
    enum reply_language language;
};

struct entry_alias {
    struct entry entry;
    bool deliver, may_send;
};

/* Heap; NULL when a text is longer than its field of directory.h. The owner calls entry_free. */
struct entry *entry_of_record(const struct record *r);
void entry_free(struct entry *entry);
void entry_to_account(const struct entry_account *a, struct directory_account *out);
void entry_to_alias(const struct entry_alias *a, struct directory_alias *out);
void entry_copy_text(struct slice s, char *to, size_t size);
/* Is it of this address? */
bool entry_is(const struct entry *entry, struct slice domain, struct slice local);

/* The place of an entry in the order, for going on later. Returns its length. */
#define ENTRY_KEY_MAX 720
size_t entry_key(const struct entry *entry, char to[ENTRY_KEY_MAX]);

struct table {
    struct entry **at;
    size_t n, size;
};

/* At the end; table_sort before any search. */
void table_append(struct table *t, struct entry *entry);
void table_sort(struct table *t);
void table_insert(struct table *t, struct entry *entry);
/* Takes it out and frees it. */
void table_remove(struct table *t, struct entry *entry);
void table_free(struct table *t);

struct entry *table_find(const struct table *t, struct slice domain, struct slice local, struct slice target);
/* Index of the first entry at or after the address; of the domain; behind the domain; behind a key. */
size_t table_address_start(const struct table *t, struct slice domain, struct slice local);
size_t table_domain_start(const struct table *t, struct slice domain);
size_t table_domain_end(const struct table *t, struct slice domain);
size_t table_after(const struct table *t, struct slice key);

/* A normalised address at its last '@' (a quoted local part may hold others); false without. */
bool table_split(struct slice address, struct slice *domain, struct slice *local);

/* --- directory_resolve.c --- */

struct tables {
    const struct table *domains, *accounts, *aliases;
};

#define RESOLVE_DEPTH 10 /* aliases in a row (security.md S20) */
#define RESOLVE_MAX 1000 /* aliases followed, and accounts found, for one address */

/* One place the mail goes to. */
struct resolved_target {
    const struct entry_account *account; /* NULL: it goes elsewhere */
    struct slice elsewhere;              /* the target of an alias that is at no domain of ours */
    struct slice domain, local;          /* the address of ours that leads there */
};

struct resolved {
    struct resolved_target *target;
    size_t n, size;
};

/* As directory_resolve, for normalised parts (an empty domain: <postmaster>). resolved_free in any case. */
enum err_code resolve(const struct tables *t, struct slice domain, struct slice local, struct resolved *out);
void resolved_free(struct resolved *r);
bool resolve_may_send(
    const struct tables *t, const struct entry_account *who, struct slice domain, struct slice local);

#endif
