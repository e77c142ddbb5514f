/* Lists of the directory, a page at a time: no callback runs under the lock. */
#include <stdlib.h>

#include "auth/directory_name.h"
#include "auth/directory_priv.h"
#include "common/mem.h"

#define PAGE 64 /* entries copied at a time */

struct page {
    struct directory *d;
    struct table *table;
    struct slice domain; /* normalised; empty: all */
    char last[ENTRY_KEY_MAX];
    size_t last_n;
};

/* Copies up to PAGE entries that follow the last page, by copy(); 0 at the end. */
static size_t page_next(
    struct page *p, void *out, size_t size, void (*copy)(const struct entry *entry, void *to))
{
    struct table *t = p->table;
    size_t i, n = 0;

    pthread_rwlock_rdlock(&p->d->memory);
    i = p->last_n ? table_after(t, slice_of(p->last, p->last_n))
                  : (p->domain.n ? table_domain_start(t, p->domain) : 0);
    for (; n < PAGE && i < t->n && (p->domain.n == 0 || slice_eq(t->at[i]->domain, p->domain)); i++, n++)
        copy(t->at[i], (char *)out + n * size);
    if (n)
        p->last_n = entry_key(t->at[i - 1], p->last);
    pthread_rwlock_unlock(&p->d->memory);
    return n;
}

static bool page_init(
    struct page *p, struct directory *d, struct table *table, struct slice domain, struct name *n)
{
    *p = (struct page){.d = d, .table = table};
    n->text = BUF_INIT(0);
    if (domain.n == 0)
        return true;
    if (!name_of_domain(domain, n))
        return false;
    p->domain = n->domain;
    return true;
}

struct domain_copy {
    char name[ADDRESS_DOMAIN_MAX + 1];
};

static void copy_domain(const struct entry *entry, void *to)
{
    entry_copy_text(entry->domain, ((struct domain_copy *)to)->name, sizeof(struct domain_copy));
}

static void copy_account(const struct entry *entry, void *to)
{
    entry_to_account((const struct entry_account *)entry, to);
}

static void copy_alias(const struct entry *entry, void *to)
{
    entry_to_alias((const struct entry_alias *)entry, to);
}

void directory_domains(struct directory *d, void (*each)(void *ctx, struct slice domain), void *ctx)
{
    struct domain_copy *list = mem_zalloc(PAGE, sizeof *list);
    struct page p;
    struct name n;
    size_t got;

    page_init(&p, d, &d->domains, SLICE(""), &n);
    while ((got = page_next(&p, list, sizeof *list, copy_domain)))
        for (size_t i = 0; i < got; i++)
            each(ctx, slice_str(list[i].name));
    free(list);
}

void directory_accounts(struct directory *d, struct slice domain,
    bool (*each)(void *ctx, const struct directory_account *a), void *ctx)
{
    struct directory_account *list = mem_zalloc(PAGE, sizeof *list);
    struct page p;
    struct name n;
    bool more = page_init(&p, d, &d->accounts, domain, &n);
    size_t got;

    while (more && (got = page_next(&p, list, sizeof *list, copy_account)))
        for (size_t i = 0; i < got && more; i++)
            more = each(ctx, &list[i]);
    mem_wipe(list, PAGE * sizeof *list);
    free(list);
    name_free(&n);
}

void directory_aliases(struct directory *d, struct slice domain,
    bool (*each)(void *ctx, const struct directory_alias *a), void *ctx)
{
    struct directory_alias *list = mem_zalloc(PAGE, sizeof *list);
    struct page p;
    struct name n;
    bool more = page_init(&p, d, &d->aliases, domain, &n);
    size_t got;

    while (more && (got = page_next(&p, list, sizeof *list, copy_alias)))
        for (size_t i = 0; i < got && more; i++)
            more = each(ctx, &list[i]);
    free(list);
    name_free(&n);
}
