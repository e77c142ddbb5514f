#include "auth/directory_table.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

bool table_split(struct slice address, struct slice *domain, struct slice *local)
{
    ssize_t at = slice_rchr(address, '@');

    if (at < 0)
        return false;
    *domain = slice_from(address, (size_t)at + 1);
    *local = slice_sub(address, 0, (size_t)at);
    return domain->n > 0;
}

/* --- entries --- */

static struct slice keep(char **to, struct slice s)
{
    struct slice kept = slice_of(*to, s.n);

    if (s.n)
        memcpy(*to, s.p, s.n);
    *to += s.n;
    return kept;
}

static bool fits(const struct record *r)
{
    const struct directory_account *a = NULL;

    return r->address.n < sizeof a->address && r->target.n < sizeof a->address &&
           r->name.n < sizeof a->name && r->hash.n < sizeof a->hash && r->scram.n < sizeof a->scram;
}

struct entry *entry_of_record(const struct record *r)
{
    size_t head = r->kind == RECORD_ACCOUNT ? sizeof(struct entry_account)
                  : r->kind == RECORD_ALIAS ? sizeof(struct entry_alias)
                                            : sizeof(struct entry);
    struct entry *entry;
    char *text;

    if (!fits(r))
        return NULL;
    entry = mem_zalloc(1, head + r->address.n + r->target.n + r->name.n + r->hash.n + r->scram.n);
    text = (char *)entry + head;
    entry->address = keep(&text, r->address);
    entry->target = keep(&text, r->target);
    entry->created = r->created;
    entry->serial = r->serial;
    entry->domain = entry->address;
    if (r->kind != RECORD_DOMAIN && !table_split(entry->address, &entry->domain, &entry->local)) {
        free(entry);
        return NULL;
    }
    if (r->kind == RECORD_ACCOUNT) {
        struct entry_account *a = (struct entry_account *)entry;

        a->name = keep(&text, r->name);
        a->hash = keep(&text, r->hash);
        a->scram = keep(&text, r->scram);
        a->quota = r->quota;
        a->suspended = r->suspended;
        a->language = r->language;
    } else if (r->kind == RECORD_ALIAS) {
        struct entry_alias *a = (struct entry_alias *)entry;

        a->deliver = r->deliver;
        a->may_send = r->may_send;
    }
    return entry;
}

void entry_free(struct entry *entry)
{
    free(entry);
}

void entry_copy_text(struct slice s, char *to, size_t size)
{
    INVARIANT(s.n < size);
    if (s.n)
        memcpy(to, s.p, s.n);
    to[s.n] = '\0';
}

void entry_to_account(const struct entry_account *a, struct directory_account *out)
{
    entry_copy_text(a->entry.address, out->address, sizeof out->address);
    entry_copy_text(a->name, out->name, sizeof out->name);
    entry_copy_text(a->hash, out->hash, sizeof out->hash);
    entry_copy_text(a->scram, out->scram, sizeof out->scram);
    out->quota = a->quota;
    out->created = a->entry.created;
    out->suspended = a->suspended;
    out->language = a->language;
}

void entry_to_alias(const struct entry_alias *a, struct directory_alias *out)
{
    entry_copy_text(a->entry.address, out->address, sizeof out->address);
    entry_copy_text(a->entry.target, out->target, sizeof out->target);
    out->deliver = a->deliver;
    out->may_send = a->may_send;
}

bool entry_is(const struct entry *entry, struct slice domain, struct slice local)
{
    return slice_eq(entry->domain, domain) && slice_eq(entry->local, local);
}

/* domain NUL local NUL target: none of them holds a NUL */
size_t entry_key(const struct entry *entry, char to[ENTRY_KEY_MAX])
{
    const struct slice parts[] = {entry->domain, entry->local, entry->target};
    size_t n = 0;

    for (size_t i = 0; i < 3; i++) {
        INVARIANT(parts[i].n < ENTRY_KEY_MAX - 1 - n);
        if (parts[i].n)
            memcpy(to + n, parts[i].p, parts[i].n);
        n += parts[i].n;
        to[n++] = '\0';
    }
    return n;
}

/* --- tables --- */

static int compare(const struct entry *entry, struct slice domain, struct slice local, struct slice target)
{
    int c = slice_cmp(entry->domain, domain);

    if (c == 0)
        c = slice_cmp(entry->local, local);
    if (c == 0)
        c = slice_cmp(entry->target, target);
    return c;
}

/* Index of the first entry that is not before the key. */
static size_t lower_bound(const struct table *t, struct slice domain, struct slice local, struct slice target)
{
    size_t from = 0, to = t->n;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (compare(t->at[middle], domain, local, target) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static void make_room(struct table *t)
{
    if (t->n < t->size)
        return;
    t->size = t->size ? t->size * 2 : 64;
    t->at = mem_realloc(t->at, t->size, sizeof *t->at);
}

void table_append(struct table *t, struct entry *entry)
{
    make_room(t);
    t->at[t->n++] = entry;
}

static int by_order(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

    return compare(x, y->domain, y->local, y->target);
}

void table_sort(struct table *t)
{
    if (t->n)
        qsort(t->at, t->n, sizeof *t->at, by_order);
}

void table_insert(struct table *t, struct entry *entry)
{
    size_t i = lower_bound(t, entry->domain, entry->local, entry->target);

    make_room(t);
    memmove(t->at + i + 1, t->at + i, (t->n - i) * sizeof *t->at);
    t->at[i] = entry;
    t->n++;
}

void table_remove(struct table *t, struct entry *entry)
{
    size_t i = lower_bound(t, entry->domain, entry->local, entry->target);

    INVARIANT(i < t->n && t->at[i] == entry);
    memmove(t->at + i, t->at + i + 1, (t->n - i - 1) * sizeof *t->at);
    t->n--;
    entry_free(entry);
}

void table_free(struct table *t)
{
    for (size_t i = 0; i < t->n; i++)
        entry_free(t->at[i]);
    free(t->at);
    *t = (struct table){0};
}

struct entry *table_find(const struct table *t, struct slice domain, struct slice local, struct slice target)
{
    size_t i = lower_bound(t, domain, local, target);

    return i < t->n && compare(t->at[i], domain, local, target) == 0 ? t->at[i] : NULL;
}

size_t table_address_start(const struct table *t, struct slice domain, struct slice local)
{
    return lower_bound(t, domain, local, SLICE(""));
}

size_t table_domain_start(const struct table *t, struct slice domain)
{
    return lower_bound(t, domain, SLICE(""), SLICE(""));
}

size_t table_domain_end(const struct table *t, struct slice domain)
{
    size_t from = table_domain_start(t, domain), to = t->n;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (slice_eq(t->at[middle]->domain, domain))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

size_t table_after(const struct table *t, struct slice key)
{
    struct slice domain, local, target;
    size_t i;

    slice_cut(&key, '\0', &domain);
    slice_cut(&key, '\0', &local);
    slice_cut(&key, '\0', &target);
    i = lower_bound(t, domain, local, target);
    return i < t->n && compare(t->at[i], domain, local, target) == 0 ? i + 1 : i;
}
