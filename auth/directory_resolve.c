#include <stdlib.h>

#include "auth/directory_table.h"
#include "common/mem.h"

/* An address that is still to be looked up. */
struct todo {
    struct slice domain, local;
    unsigned depth;
};

struct walk {
    const struct tables *tables;
    struct resolved *out;
    struct todo *todo;
    size_t ntodo, done, size;
};

void resolved_free(struct resolved *r)
{
    free(r->target);
    *r = (struct resolved){0};
}

/* Each once, whichever way leads there. */
static void found(struct resolved *r, struct resolved_target t)
{
    if (r->n == RESOLVE_MAX)
        return;
    for (size_t i = 0; i < r->n; i++)
        if (r->target[i].account == t.account && slice_eq(r->target[i].elsewhere, t.elsewhere))
            return;
    if (r->n == r->size) {
        r->size = r->size ? r->size * 2 : 4;
        r->target = mem_realloc(r->target, r->size, sizeof *r->target);
    }
    r->target[r->n++] = t;
}

static void found_account(struct walk *w, const struct entry *account)
{
    found(w->out, (struct resolved_target){.account = (const struct entry_account *)account,
                      .elsewhere = SLICE(""),
                      .domain = account->domain,
                      .local = account->local});
}

/* Each address is looked up once, so aliases that go in circles end. */
static void add_todo(struct walk *w, struct slice domain, struct slice local, unsigned depth)
{
    if (depth > RESOLVE_DEPTH || w->ntodo == RESOLVE_MAX)
        return;
    for (size_t i = 0; i < w->ntodo; i++)
        if (slice_eq(w->todo[i].local, local) && slice_eq(w->todo[i].domain, domain))
            return;
    if (w->ntodo == w->size) {
        w->size = w->size ? w->size * 2 : 8;
        w->todo = mem_realloc(w->todo, w->size, sizeof *w->todo);
    }
    w->todo[w->ntodo++] = (struct todo){domain, local, depth};
}

static void follow(struct walk *w, const struct todo *at, struct slice target)
{
    struct slice domain, local;

    if (!table_split(target, &domain, &local))
        return;
    if (table_find(w->tables->domains, domain, SLICE(""), SLICE("")))
        add_todo(w, domain, local, at->depth + 1);
    else
        found(
            w->out, (struct resolved_target){.elsewhere = target, .domain = at->domain, .local = at->local});
}

/* True when `local` is there at the domain of `at`: an account, or an alias that delivers. */
static bool look_up(struct walk *w, const struct todo *at, struct slice local)
{
    const struct table *aliases = w->tables->aliases;
    struct slice domain = at->domain;
    const struct entry *account = table_find(w->tables->accounts, domain, local, SLICE(""));
    bool there = account != NULL;

    if (account)
        found_account(w, account);
    for (size_t i = table_address_start(aliases, domain, local);
         i < aliases->n && entry_is(aliases->at[i], domain, local); i++) {
        if (!((const struct entry_alias *)aliases->at[i])->deliver)
            continue;
        there = true;
        follow(w, at, aliases->at[i]->target);
    }
    return there;
}

/* "user+tag" without the tag; false if there is none. */
static bool without_tag(struct slice local, struct slice *out)
{
    ssize_t plus = slice_chr(local, '+');

    if (plus <= 0 || local.p[0] == '"')
        return false;
    *out = slice_sub(local, 0, (size_t)plus);
    return true;
}

static const struct entry *oldest(const struct table *t, size_t from, size_t to)
{
    const struct entry *best = NULL;

    for (size_t i = from; i < to; i++)
        if (!best || t->at[i]->serial < best->serial)
            best = t->at[i];
    return best;
}

/* RFC 5321 4.5.1, RFC 2142: somebody reads them in every domain. */
static bool is_role_name(struct slice local)
{
    return slice_eq(local, SLICE("postmaster")) || slice_eq(local, SLICE("abuse"));
}

static void look_up_all_ways(struct walk *w, struct todo at)
{
    const struct table *accounts = w->tables->accounts;
    struct slice plain;

    if (look_up(w, &at, at.local))
        return;
    if (without_tag(at.local, &plain) && look_up(w, &at, plain))
        return;
    if (look_up(w, &at, SLICE(""))) /* "@domain" */
        return;
    if (is_role_name(at.local)) {
        const struct entry *first =
            oldest(accounts, table_domain_start(accounts, at.domain), table_domain_end(accounts, at.domain));

        if (first)
            found_account(w, first);
    }
}

enum err_code resolve(const struct tables *t, struct slice domain, struct slice local, struct resolved *out)
{
    struct walk w = {.tables = t, .out = out};
    const struct entry *home = domain.n ? table_find(t->domains, domain, SLICE(""), SLICE(""))
                                        : oldest(t->domains, 0, t->domains->n);

    if (!home)
        return ERR_NO_RELAY;
    add_todo(&w, home->domain, local, 0);
    for (size_t i = 0; i < w.ntodo; i++)
        look_up_all_ways(&w, w.todo[i]);
    free(w.todo);
    return out->n ? ERR_OK : ERR_NO_USER;
}

/* 1 may, 0 may not, -1 there is no such alias */
static int alias_lets(
    const struct tables *t, const struct entry_account *who, struct slice domain, struct slice local)
{
    size_t i = table_address_start(t->aliases, domain, local);
    int lets = -1;

    for (; i < t->aliases->n && entry_is(t->aliases->at[i], domain, local); i++) {
        const struct entry_alias *a = (const struct entry_alias *)t->aliases->at[i];

        lets = lets < 0 ? 0 : lets;
        if (a->may_send && slice_eq(a->entry.target, who->entry.address))
            lets = 1;
    }
    return lets;
}

bool resolve_may_send(
    const struct tables *t, const struct entry_account *who, struct slice domain, struct slice local)
{
    struct slice plain = local;
    int lets;

    if (slice_eq(domain, who->entry.domain) && slice_eq(local, who->entry.local))
        return true;
    lets = alias_lets(t, who, domain, local);
    if (lets < 0 && without_tag(local, &plain)) {
        if (slice_eq(domain, who->entry.domain) && slice_eq(plain, who->entry.local))
            return true;
        lets = alias_lets(t, who, domain, plain);
    }
    /* who catches all of a domain may not send as those who have an address of their own there */
    if (lets < 0 && !table_find(t->accounts, domain, plain, SLICE("")))
        lets = alias_lets(t, who, domain, SLICE(""));
    return lets > 0;
}
