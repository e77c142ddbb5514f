/* Usage counters, in memory; directory_close saves them. */
#include "auth/directory_name.h"
#include "auth/directory_priv.h"

/* The account under the lock, exclusive; the caller unlocks `memory` in any case. */
static struct entry_account *lock_usage(struct directory *d, struct slice account)
{
    struct entry_account *a = NULL;
    struct name n;
    bool good = name_of(account, false, &n);

    pthread_rwlock_wrlock(&d->memory);
    if (good)
        a = account_at(d, n.domain, n.local);
    name_free(&n);
    return a;
}

bool directory_usage_get(struct directory *d, struct slice account, uint64_t *octets, uint64_t *messages)
{
    struct entry_account *a = lock_usage(d, account);
    bool known = a && a->usage_known;

    *octets = known ? a->octets : 0;
    *messages = known ? a->messages : 0;
    pthread_rwlock_unlock(&d->memory);
    return known;
}

void directory_usage_set(struct directory *d, struct slice account, uint64_t octets, uint64_t messages)
{
    struct entry_account *a = lock_usage(d, account);

    if (a) {
        a->octets = octets > INT64_MAX ? INT64_MAX : octets;
        a->messages = messages > INT64_MAX ? INT64_MAX : messages;
        a->usage_known = true;
    }
    pthread_rwlock_unlock(&d->memory);
}

static uint64_t add_clamped(uint64_t have, int64_t by)
{
    if (by < 0)
        return have < 0 - (uint64_t)by ? 0 : have - (0 - (uint64_t)by);
    return have > (uint64_t)INT64_MAX - (uint64_t)by ? INT64_MAX : have + (uint64_t)by;
}

bool directory_usage_add(struct directory *d, struct slice account, int64_t octets, int64_t messages)
{
    struct entry_account *a = lock_usage(d, account);
    bool known = a && a->usage_known;

    if (known) {
        a->octets = add_clamped(a->octets, octets);
        a->messages = add_clamped(a->messages, messages);
    }
    pthread_rwlock_unlock(&d->memory);
    return known;
}
