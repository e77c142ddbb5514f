/* directory_priv: what directory.c, directory_list.c and directory_usage.c share. */
#ifndef AUTH_DIRECTORY_PRIV_H
#define AUTH_DIRECTORY_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "auth/directory_store.h"
#include "auth/directory_table.h"

/*
 * The whole directory is in memory, in three sorted tables (directory_table.h); the store is asked only at
 * open and for changes. Readers take `memory` shared. A change takes `writer`, checks, makes itself durable
 * without holding `memory` (RCPT does not wait for a disk), and takes `memory` for the moment it changes the
 * tables.
 */
struct directory {
    struct store *store;
    pthread_mutex_t writer;
    pthread_rwlock_t memory;
    struct table domains, accounts, aliases;
    atomic_uint_fast64_t generation;
    size_t may_log_in, have_scram; /* not suspended with a password; of those, with a verifier */
};

/* Under `memory`; NULL: none. */
struct entry_account *account_at(struct directory *d, struct slice domain, struct slice local);

#endif
