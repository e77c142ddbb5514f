#include "auth/directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/directory_name.h"
#include "auth/directory_priv.h"
#include "common/mem.h"
#include "common/utf8.h"

static int bad_address(struct slice s, struct err *e)
{
    return err_set(
        e, ERR_SYNTAX, "\"%.*s\" is not an address; write name@domain", (int)(s.n > 80 ? 80 : s.n), s.p);
}

static bool is_text(struct slice s)
{
    while (s.n) {
        size_t width = utf8_printable(s);

        if (width == 0)
            return false;
        s = slice_from(s, width);
    }
    return true;
}

static int not_our_domain(struct slice domain, struct err *e)
{
    return err_set(e, ERR_NO_DOMAIN,
        "%.*s is not a domain of this server; add it with: postamt domain add %.*s", SLICE_FMT(domain),
        SLICE_FMT(domain));
}

static int no_account(struct slice address, struct err *e)
{
    return err_set(e, ERR_NO_USER, "there is no account %.*s; see them with: postamt account list",
        (int)(address.n > 80 ? 80 : address.n), address.p);
}

/* --- opening --- */

static void count(struct directory *d, const struct entry_account *a, int by)
{
    bool active = !a->suspended && a->hash.n;

    d->may_log_in += (size_t)(active ? by : 0);
    d->have_scram += (size_t)(active && a->scram.n ? by : 0);
}

static void load_record(void *ctx, const struct record *r)
{
    struct directory *d = ctx;
    struct entry *entry = entry_of_record(r);

    if (!entry)
        return;
    if (r->kind == RECORD_ACCOUNT)
        count(d, (struct entry_account *)entry, 1);
    table_append(r->kind == RECORD_DOMAIN    ? &d->domains
                 : r->kind == RECORD_ACCOUNT ? &d->accounts
                                             : &d->aliases,
        entry);
}

struct entry_account *account_at(struct directory *d, struct slice domain, struct slice local)
{
    return (struct entry_account *)table_find(&d->accounts, domain, local, SLICE(""));
}

static void load_usage(void *ctx, struct slice account, uint64_t octets, uint64_t messages)
{
    struct directory *d = ctx;
    struct slice domain, local;
    struct entry_account *a;

    if (!table_split(account, &domain, &local) || !(a = account_at(d, domain, local)))
        return;
    a->octets = octets;
    a->messages = messages;
    a->usage_known = true;
}

struct directory *directory_open(const char *dir, struct buf *repaired, struct err *e)
{
    struct store *store = store_open(dir, repaired, e);
    struct directory *d;

    if (!store)
        return NULL;
    d = mem_zalloc(1, sizeof *d);
    d->store = store;
    pthread_mutex_init(&d->writer, NULL);
    pthread_rwlock_init(&d->memory, NULL);
    atomic_init(&d->generation, store_generation(store));
    if (store_load(store, load_record, d, e) < 0) {
        directory_close(d);
        return NULL;
    }
    table_sort(&d->domains);
    table_sort(&d->accounts);
    table_sort(&d->aliases);
    store_usage_load(store, load_usage, d);
    return d;
}

static void save_usage(struct directory *d)
{
    struct store_usage *list = mem_zalloc(d->accounts.n + 1, sizeof *list);
    size_t n = 0;

    for (size_t i = 0; i < d->accounts.n; i++) {
        const struct entry_account *a = (const struct entry_account *)d->accounts.at[i];

        if (a->usage_known)
            list[n++] = (struct store_usage){a->entry.address, a->octets, a->messages};
    }
    store_usage_save(d->store, list, n);
    free(list);
}

void directory_close(struct directory *d)
{
    if (!d)
        return;
    save_usage(d);
    store_close(d->store);
    table_free(&d->domains);
    table_free(&d->accounts);
    table_free(&d->aliases);
    pthread_rwlock_destroy(&d->memory);
    pthread_mutex_destroy(&d->writer);
    free(d);
}

int directory_folder(const struct directory *d)
{
    return store_folder(d->store);
}

uint64_t directory_generation(struct directory *d)
{
    return atomic_load(&d->generation);
}

/* --- changes --- */

static _Thread_local bool pretending;

void directory_pretend(bool on)
{
    pretending = on;
}

/*
 * Makes the record durable, then shows it to readers. The caller holds `writer`. `old` is what the record
 * replaces or removes (NULL: nothing).
 */
static int change(
    struct directory *d, struct table *table, struct record *r, struct entry *old, struct err *e)
{
    struct entry *new;

    r->serial = old ? old->serial : 0;
    new = r->removed ? NULL : entry_of_record(r);
    if (!r->removed && !new)
        return err_set(e, ERR_SYNTAX, "that record does not fit the directory");
    if (pretending) {
        entry_free(new);
        return 0;
    }
    if (store_change(d->store, r, e) < 0) {
        entry_free(new);
        return -1;
    }
    if (new)
        new->serial = r->serial;
    pthread_rwlock_wrlock(&d->memory);
    if (r->kind == RECORD_ACCOUNT && old)
        count(d, (struct entry_account *)old, -1);
    if (r->kind == RECORD_ACCOUNT && new)
        count(d, (struct entry_account *)new, 1);
    if (r->kind == RECORD_ACCOUNT && old && new) {
        struct entry_account *from = (struct entry_account *)old, *to = (struct entry_account *)new;

        to->octets = from->octets;
        to->messages = from->messages;
        to->usage_known = from->usage_known;
    }
    if (old)
        table_remove(table, old);
    if (new)
        table_insert(table, new);
    atomic_store(&d->generation, r->generation);
    pthread_rwlock_unlock(&d->memory);
    return 0;
}

static int64_t now(void)
{
    return (int64_t)time(NULL);
}

static int domain_add(struct directory *d, const struct name *n, struct err *e)
{
    struct record r = {.kind = RECORD_DOMAIN, .address = n->domain, .created = now()};

    if (table_find(&d->domains, n->domain, SLICE(""), SLICE("")))
        return err_set(e, ERR_EXISTS, "%.*s is a domain of this server already", SLICE_FMT(n->domain));
    return change(d, &d->domains, &r, NULL, e);
}

int directory_domain_add(struct directory *d, struct slice domain, struct err *e)
{
    struct name n;
    int rc;

    if (!name_of_domain(domain, &n)) {
        rc = err_set(e, ERR_SYNTAX, "\"%.*s\" is not a domain name; write it as example.org",
            (int)(domain.n > 80 ? 80 : domain.n), domain.p);
    } else {
        pthread_mutex_lock(&d->writer);
        rc = domain_add(d, &n, e);
        pthread_mutex_unlock(&d->writer);
    }
    name_free(&n);
    return rc;
}

static int domain_remove(struct directory *d, const struct name *n, struct err *e)
{
    struct entry *old = table_find(&d->domains, n->domain, SLICE(""), SLICE(""));
    struct record r = {.kind = RECORD_DOMAIN, .removed = true, .address = n->domain};
    size_t accounts = table_domain_end(&d->accounts, n->domain) - table_domain_start(&d->accounts, n->domain);
    size_t aliases = table_domain_end(&d->aliases, n->domain) - table_domain_start(&d->aliases, n->domain);

    if (!old)
        return err_set(e, ERR_NO_DOMAIN,
            "%.*s is not a domain of this server; see them with: postamt domain list", SLICE_FMT(n->domain));
    if (accounts || aliases)
        return err_set(e, ERR_CANNOT, "%.*s still has %zu accounts and %zu aliases; remove those first",
            SLICE_FMT(n->domain), accounts, aliases);
    return change(d, &d->domains, &r, old, e);
}

int directory_domain_remove(struct directory *d, struct slice domain, struct err *e)
{
    struct name n;
    int rc;

    if (!name_of_domain(domain, &n)) {
        rc = err_set(
            e, ERR_NO_DOMAIN, "that is not a domain of this server; see them with: postamt domain list");
    } else {
        pthread_mutex_lock(&d->writer);
        rc = domain_remove(d, &n, e);
        pthread_mutex_unlock(&d->writer);
    }
    name_free(&n);
    return rc;
}

bool directory_domain_name(struct directory *d, struct slice domain, struct buf *out)
{
    struct name n;
    bool has = false;

    if (name_of_domain(domain, &n)) {
        pthread_rwlock_rdlock(&d->memory);
        has = table_find(&d->domains, n.domain, SLICE(""), SLICE("")) != NULL;
        pthread_rwlock_unlock(&d->memory);
        if (has)
            buf_add(out, n.domain);
    }
    name_free(&n);
    return has;
}

bool directory_has_domain(struct directory *d, struct slice domain)
{
    struct buf name = BUF_INIT(ADDRESS_DOMAIN_MAX);
    bool has = directory_domain_name(d, domain, &name);

    buf_free(&name);
    return has;
}

static struct record record_of(const struct directory_account *a, struct slice address)
{
    return (struct record){.kind = RECORD_ACCOUNT,
        .address = address,
        .name = slice_str(a->name),
        .hash = slice_str(a->hash),
        .scram = slice_str(a->scram),
        .quota = a->quota,
        .created = a->created ? a->created : now(),
        .suspended = a->suspended,
        .language = a->language};
}

static int check_fields(const struct directory_account *a, struct err *e)
{
    if (!is_text(slice_str(a->name)))
        return err_set(e, ERR_SYNTAX, "the name holds control characters or is not UTF-8");
    if (!is_text(slice_str(a->hash)) || !is_text(slice_str(a->scram)))
        return err_set(e, ERR_SYNTAX, "the password's hash holds control characters");
    if (a->quota > INT64_MAX)
        return err_set(e, ERR_SYNTAX, "the quota is too large");
    return 0;
}

static bool is_alias(struct directory *d, struct slice domain, struct slice local)
{
    size_t i = table_address_start(&d->aliases, domain, local);

    for (; i < d->aliases.n && entry_is(d->aliases.at[i], domain, local); i++)
        if (((const struct entry_alias *)d->aliases.at[i])->deliver)
            return true;
    return false;
}

/* What a change of an account is about; before: what it must still be (NULL: whatever it is). */
struct account_change {
    const struct directory_account *after, *before;
};

static int account_add(
    struct directory *d, const struct account_change *c, const struct name *n, struct err *e)
{
    struct record r = record_of(c->after, n->address);

    if (!name_is_allowed(n->local, false))
        return err_set(e, ERR_SYNTAX,
            "\"%.*s\" cannot be an account's name; use letters, digits, '.', '_' and '-' before the @",
            SLICE_FMT(n->local));
    if (!table_find(&d->domains, n->domain, SLICE(""), SLICE("")))
        return not_our_domain(n->domain, e);
    if (account_at(d, n->domain, n->local))
        return err_set(e, ERR_EXISTS,
            "there is an account %.*s already; see it with: postamt account show %.*s", SLICE_FMT(n->address),
            SLICE_FMT(n->address));
    if (is_alias(d, n->domain, n->local))
        return err_set(e, ERR_EXISTS, "%.*s is an alias; remove it first with: postamt alias remove",
            SLICE_FMT(n->address));
    return change(d, &d->accounts, &r, NULL, e);
}

static bool is_as_before(const struct entry_account *now, const struct directory_account *before)
{
    return slice_eq(now->name, slice_str(before->name)) && slice_eq(now->hash, slice_str(before->hash)) &&
           slice_eq(now->scram, slice_str(before->scram)) && now->quota == before->quota &&
           now->suspended == before->suspended && now->language == before->language;
}

static int account_set(
    struct directory *d, const struct account_change *c, const struct name *n, struct err *e)
{
    struct entry_account *old = account_at(d, n->domain, n->local);
    struct record r = record_of(c->after, n->address);

    if (!old)
        return no_account(n->address, e);
    if (c->before && !is_as_before(old, c->before))
        return err_set(e, ERR_UNAVAILABLE, "the account was changed by somebody else; try again");
    return change(d, &d->accounts, &r, &old->entry, e);
}

static int with_account(struct directory *d, const struct account_change *c,
    int (*todo)(struct directory *, const struct account_change *, const struct name *, struct err *),
    struct err *e)
{
    const struct directory_account *a = c->after;
    struct name n;
    int rc = 0;

    if (!name_of(slice_str(a->address), false, &n))
        rc = bad_address(slice_str(a->address), e);
    if (rc == 0)
        rc = check_fields(a, e);
    if (rc == 0) {
        pthread_mutex_lock(&d->writer);
        rc = todo(d, c, &n, e);
        pthread_mutex_unlock(&d->writer);
    }
    name_free(&n);
    return rc;
}

int directory_account_add(struct directory *d, const struct directory_account *a, struct err *e)
{
    return with_account(d, &(struct account_change){.after = a}, account_add, e);
}

int directory_account_set(struct directory *d, const struct directory_account *a, struct err *e)
{
    return with_account(d, &(struct account_change){.after = a}, account_set, e);
}

int directory_account_swap(struct directory *d, const struct directory_account *before,
    const struct directory_account *after, struct err *e)
{
    return with_account(d, &(struct account_change){.after = after, .before = before}, account_set, e);
}

int directory_account_remove(struct directory *d, struct slice address, struct err *e)
{
    struct name n;
    int rc;

    if (!name_of(address, false, &n)) {
        rc = no_account(address, e);
    } else {
        struct record r = {.kind = RECORD_ACCOUNT, .removed = true, .address = n.address};
        struct entry_account *old;

        pthread_mutex_lock(&d->writer);
        old = account_at(d, n.domain, n.local);
        rc = old ? change(d, &d->accounts, &r, &old->entry, e) : no_account(n.address, e);
        pthread_mutex_unlock(&d->writer);
    }
    name_free(&n);
    return rc;
}

int directory_account_get(
    struct directory *d, struct slice address, struct directory_account *out, struct err *e)
{
    struct entry_account *a = NULL;
    struct name n;

    if (name_of(address, false, &n)) {
        pthread_rwlock_rdlock(&d->memory);
        a = account_at(d, n.domain, n.local);
        if (a)
            entry_to_account(a, out);
        pthread_rwlock_unlock(&d->memory);
    }
    name_free(&n);
    return a ? 0 : no_account(address, e);
}

bool directory_all_have_scram(struct directory *d)
{
    bool all;

    pthread_rwlock_rdlock(&d->memory);
    all = d->may_log_in > 0 && d->have_scram == d->may_log_in;
    pthread_rwlock_unlock(&d->memory);
    return all;
}

/* --- aliases --- */

static int alias_add(struct directory *d, const struct directory_alias *a, const struct name *n,
    const struct name *to, struct err *e)
{
    struct record r = {.kind = RECORD_ALIAS,
        .address = n->address,
        .target = to->address,
        .created = now(),
        .deliver = a->deliver,
        .may_send = a->may_send};
    struct address target = {.local = to->local, .domain = to->domain};
    struct entry *old = table_find(&d->aliases, n->domain, n->local, to->address);

    if (n->local.n && !name_is_allowed(n->local, true))
        return err_set(e, ERR_SYNTAX,
            "\"%.*s\" cannot be an alias; use letters, digits, '.', '_', '-' and '+'", SLICE_FMT(n->local));
    if (!a->deliver && !a->may_send)
        return err_set(e, ERR_USAGE, "an alias that neither delivers nor may send does nothing");
    if (!table_find(&d->domains, n->domain, SLICE(""), SLICE("")))
        return not_our_domain(n->domain, e);
    if (old)
        return err_set(
            e, ERR_EXISTS, "%.*s has the target %.*s already", SLICE_FMT(n->address), SLICE_FMT(to->address));
    if (slice_eq(n->address, to->address))
        return err_set(e, ERR_LOOP, "an alias cannot be its own target");
    if (a->deliver && account_at(d, n->domain, n->local))
        return err_set(e, ERR_EXISTS, "%.*s is an account; mail for it goes there", SLICE_FMT(n->address));
    if (!table_find(&d->domains, to->domain, SLICE(""), SLICE(""))) {
        if (a->may_send)
            return err_set(e, ERR_NO_USER,
                "%.*s is not an address of this server, so nobody can log in as it; leave --may-send out",
                SLICE_FMT(to->address));
        return change(d, &d->aliases, &r, NULL, e);
    }
    if (directory_resolve(d, &target, NULL, NULL) != ERR_OK)
        return err_set(e, ERR_NO_USER,
            "there is no account or alias %.*s; make it with: postamt account add %.*s",
            SLICE_FMT(to->address), SLICE_FMT(to->address));
    return change(d, &d->aliases, &r, NULL, e);
}

int directory_alias_add(struct directory *d, const struct directory_alias *a, struct err *e)
{
    struct name n, to = {.text = BUF_INIT(0)};
    int rc;

    if (!name_of(slice_str(a->address), true, &n)) {
        rc = bad_address(slice_str(a->address), e);
    } else if (!name_of(slice_str(a->target), false, &to)) {
        rc = bad_address(slice_str(a->target), e);
    } else {
        pthread_mutex_lock(&d->writer);
        rc = alias_add(d, a, &n, &to, e);
        pthread_mutex_unlock(&d->writer);
    }
    name_free(&n);
    name_free(&to);
    return rc;
}

int directory_alias_remove(struct directory *d, struct slice address, struct slice target, struct err *e)
{
    struct name n, to = {.text = BUF_INIT(0)};
    struct entry *old = NULL;
    int rc = -1;

    if (name_of(address, true, &n) && name_of(target, false, &to)) {
        struct record r = {.kind = RECORD_ALIAS, .removed = true, .address = n.address, .target = to.address};

        pthread_mutex_lock(&d->writer);
        old = table_find(&d->aliases, n.domain, n.local, to.address);
        if (old)
            rc = change(d, &d->aliases, &r, old, e);
        pthread_mutex_unlock(&d->writer);
    }
    if (!old)
        rc = err_set(e, ERR_NO_USER, "there is no such alias; see them with: postamt alias list");
    name_free(&n);
    name_free(&to);
    return rc;
}

/* --- where mail goes, who may send --- */

/* A target outside of the lock. */
struct target_copy {
    bool is_account;
    struct directory_account account;
    char elsewhere[sizeof((struct directory_account *)0)->address];
    char forward[2 * sizeof((struct directory_account *)0)->address];
};

static void copy_target(const struct resolved_target *t, struct target_copy *to)
{
    to->is_account = t->account != NULL;
    if (t->account)
        entry_to_account(t->account, &to->account);
    entry_copy_text(t->elsewhere, to->elsewhere, sizeof to->elsewhere);
    snprintf(to->forward, sizeof to->forward, "%.*s@%.*s", SLICE_FMT(t->local), SLICE_FMT(t->domain));
}

enum err_code directory_resolve(struct directory *d, const struct address *a,
    void (*each)(void *ctx, const struct directory_target *target), void *ctx)
{
    struct tables tables = {&d->domains, &d->accounts, &d->aliases};
    struct target_copy *list = NULL;
    struct resolved found = {0};
    enum err_code code;
    struct name n;

    if (!name_of_address(a, &n)) {
        name_free(&n);
        return ERR_NO_RELAY;
    }
    pthread_rwlock_rdlock(&d->memory);
    code = resolve(&tables, n.domain, n.local, &found);
    if (code == ERR_OK && each) {
        list = mem_zalloc(found.n, sizeof *list);
        for (size_t i = 0; i < found.n; i++)
            copy_target(&found.target[i], &list[i]);
    }
    pthread_rwlock_unlock(&d->memory);
    for (size_t i = 0; list && i < found.n; i++) {
        bool here = list[i].is_account;
        struct directory_target t = {
            here ? &list[i].account : NULL, here ? NULL : list[i].elsewhere, here ? NULL : list[i].forward};

        each(ctx, &t);
    }
    if (list)
        mem_wipe(list, found.n * sizeof *list);
    free(list);
    resolved_free(&found);
    name_free(&n);
    return code;
}

bool directory_may_send(struct directory *d, struct slice account, const struct address *address)
{
    struct tables tables = {&d->domains, &d->accounts, &d->aliases};
    struct entry_account *who;
    struct name from, n;
    bool may = false;

    from.text = BUF_INIT(0);
    if (name_of(account, false, &n) && name_of_address(address, &from)) {
        pthread_rwlock_rdlock(&d->memory);
        who = account_at(d, n.domain, n.local);
        may = who && !who->suspended && resolve_may_send(&tables, who, from.domain, from.local);
        pthread_rwlock_unlock(&d->memory);
    }
    name_free(&from);
    name_free(&n);
    return may;
}
