#include <stdlib.h>
#include <string.h>

#include "common/hmap.h"
#include "common/mem.h"
#include "mail/address.h"
#include "queue/finding.h"
#include "queue/router_rules.h"

#define SWEEP_SECONDS 60

struct place;

struct waiter {
    struct waiter *next;
    struct place *place;
    router_done *done;
    void *ctx;
};

/* What is known of a destination (for mail with or without REQUIRETLS), and who waits for it. */
struct place {
    struct router *router;
    char *destination;
    bool requiretls;
    struct finding *finding; /* NULL: nothing is being asked */
    struct waiter *waiters;
    struct arena arena;
    struct router_result result; /* in the arena */
    int64_t expires;             /* 0: there is no result */
};

struct router {
    struct finding_env env;
    struct router_ops ops;
    struct hmap places;   /* '!' (requiretls) or '=' and the destination */
    struct waiter *asked; /* since the last turn, the first first */
    struct event *turn;
    int64_t swept;
};

static int64_t now_of(const struct router *r)
{
    return r->ops.now(r->ops.ctx);
}

/* ---- names ---- */

/* The domain of a mailbox as it is looked up; one that IDNA refuses stays as it is: the DNS will not know it.
 */
static void add_domain(struct buf *out, struct slice mailbox)
{
    struct slice domain = slice_from(mailbox, (size_t)(slice_rchr(mailbox, '@') + 1));
    struct address a = {
        .local = SLICE("x"), .domain = domain, .is_literal = slice_starts(domain, SLICE("["))};
    struct buf text = BUF_INIT(ADDRESS_DOMAIN_MAX + 2);

    if (address_normalise(&a, &text))
        buf_add(out, slice_from(buf_slice(&text), 2));
    else
        buf_add(out, domain);
    buf_free(&text);
}

void router_destination(
    const struct router *r, struct slice reverse_path, struct slice address, struct buf *out)
{
    const struct settings *s = r->env.settings;
    struct buf from = BUF_INIT(BUF_OWN), to = BUF_INIT(BUF_OWN);

    if (reverse_path.n)
        add_domain(&from, reverse_path);
    add_domain(&to, address);
    if (r->ops.is_ours(r->ops.ctx, buf_slice(&to)))
        buf_add(out, ROUTER_DESTINATION_HERE);
    else
        rules_destination(s, rules_find(s, buf_slice(&from), buf_slice(&to)), buf_slice(&to), out);
    buf_free(&from);
    buf_free(&to);
}

/* ---- places ---- */

static void place_free(struct place *p)
{
    if (p->finding)
        finding_free(p->finding);
    while (p->waiters) {
        struct waiter *w = p->waiters;

        p->waiters = w->next;
        free(w);
    }
    arena_free(&p->arena);
    free(p->destination);
    free(p);
}

static void key_of(struct buf *key, struct slice destination, bool requiretls)
{
    buf_add_char(key, requiretls ? '!' : '=');
    buf_add(key, destination);
}

static struct place *place_get(struct router *r, struct slice destination, bool requiretls)
{
    struct buf key = BUF_INIT(BUF_OWN);
    struct place *p;

    key_of(&key, destination, requiretls);
    p = hmap_get(&r->places, buf_slice(&key));
    if (!p) {
        p = mem_zalloc(1, sizeof *p);
        p->router = r;
        p->destination = slice_dup(destination);
        INVARIANT(p->destination);
        p->requiretls = requiretls;
        arena_init(&p->arena, ROUTE_ARENA);
        hmap_put(&r->places, buf_slice(&key), p);
    }
    buf_free(&key);
    return p;
}

static bool sweep_one(void *ctx, struct slice key, void *value)
{
    struct router *r = ctx;
    struct place *p = value;

    if (!p->finding && !p->waiters && p->expires <= now_of(r)) {
        hmap_remove(&r->places, key);
        place_free(p);
    }
    return true;
}

static void sweep(struct router *r)
{
    int64_t now = now_of(r);

    if (r->asked || (now >= r->swept && now < r->swept + SWEEP_SECONDS))
        return;
    r->swept = now;
    hmap_walk(&r->places, sweep_one, r);
}

/* ---- finding ---- */

static void append(struct waiter **list, struct waiter *w)
{
    while (*list)
        list = &(*list)->next;
    w->next = NULL;
    *list = w;
}

static void on_found(void *ctx, const struct router_result *result, unsigned seconds)
{
    struct place *p = ctx;

    finding_free(p->finding);
    p->finding = NULL;
    p->result = *result;
    p->expires = seconds ? now_of(p->router) + seconds : 0;
    while (p->waiters) {
        struct waiter *w = p->waiters;

        p->waiters = w->next;
        w->done(w->ctx, &p->result);
        free(w);
    }
}

static bool is_here(const struct router *r, const struct place *p)
{
    struct slice destination = slice_str(p->destination), domain;

    if (slice_eq(destination, ROUTER_DESTINATION_HERE))
        return true;
    slice_cut(&destination, '#', &domain);
    return r->ops.is_ours(r->ops.ctx, domain);
}

static void serve(struct router *r, struct waiter *w)
{
    static const struct router_result here = {.status = ROUTE_HERE, .status_code = "2.0.0"};
    struct place *p = w->place;

    if (is_here(r, p) || p->expires > now_of(r)) {
        w->done(w->ctx, is_here(r, p) ? &here : &p->result);
        free(w);
        return;
    }
    append(&p->waiters, w);
    if (!p->finding) {
        p->expires = 0;
        p->finding = finding_new(&r->env, slice_str(p->destination), p->requiretls, &p->arena, on_found, p);
        finding_start(p->finding);
    }
}

static void on_turn(evutil_socket_t fd, short what, void *ctx)
{
    struct router *r = ctx;
    size_t n = 0;

    (void)fd, (void)what;
    for (struct waiter *w = r->asked; w; w = w->next)
        n++;
    for (; n > 0 && r->asked; n--) {
        struct waiter *w = r->asked;

        r->asked = w->next;
        serve(r, w);
    }
    sweep(r);
}

void router_find(struct router *r, struct slice destination, bool requiretls, router_done *done, void *ctx)
{
    struct waiter *w = mem_alloc(sizeof *w);

    *w = (struct waiter){.place = place_get(r, destination, requiretls), .done = done, .ctx = ctx};
    append(&r->asked, w);
    event_active(r->turn, EV_TIMEOUT, 0);
}

/* ---- forgetting ---- */

static void forget_in(struct waiter **list, const void *ctx)
{
    while (*list) {
        struct waiter *w = *list;

        if (w->ctx != ctx) {
            list = &w->next;
            continue;
        }
        *list = w->next;
        free(w);
    }
}

struct forgotten {
    const void *ctx;
};

static bool forget_one(void *ctx, struct slice key, void *value)
{
    const struct forgotten *f = ctx;
    struct place *p = value;

    (void)key;
    forget_in(&p->waiters, f->ctx);
    return true;
}

void router_forget(struct router *r, const void *ctx)
{
    struct forgotten f = {ctx};

    forget_in(&r->asked, ctx);
    hmap_walk(&r->places, forget_one, &f);
}

void router_drop(struct router *r, struct slice destination)
{
    for (int requiretls = 0; requiretls < 2; requiretls++) {
        struct buf key = BUF_INIT(BUF_OWN);
        struct place *p;

        key_of(&key, destination, requiretls);
        p = hmap_get(&r->places, buf_slice(&key));
        if (p)
            p->expires = 0;
        buf_free(&key);
    }
}

bool router_fetched(struct router *r, struct ipc_in *in)
{
    return policies_fetched(r->env.policies, in);
}

/* ---- life ---- */

struct router *router_new(struct event_base *base, struct dns *dns, const struct settings *settings,
    struct slice secrets, int folder, const struct router_ops *ops)
{
    struct router *r = mem_zalloc(1, sizeof *r);

    r->ops = *ops;
    r->env = (struct finding_env){
        .dns = dns,
        .settings = settings,
        .secrets = secrets,
        .policies = policies_new(base, dns, settings, folder, ops),
    };
    r->turn = evtimer_new(base, on_turn, r);
    INVARIANT(r->turn);
    return r;
}

/* What is being asked was asked under the old settings: those who wait for it begin anew. */
static bool renew_one(void *ctx, struct slice key, void *value)
{
    struct router *r = ctx;
    struct place *p = value;

    (void)key;
    p->expires = 0;
    if (p->finding)
        finding_free(p->finding);
    p->finding = NULL;
    while (p->waiters) {
        struct waiter *w = p->waiters;

        p->waiters = w->next;
        append(&r->asked, w);
    }
    return true;
}

void router_set_settings(struct router *r, const struct settings *settings, struct slice secrets)
{
    r->env.settings = settings;
    r->env.secrets = secrets;
    policies_set_settings(r->env.policies, settings);
    hmap_walk(&r->places, renew_one, r);
    event_active(r->turn, EV_TIMEOUT, 0);
}

static bool free_one(void *ctx, struct slice key, void *value)
{
    (void)ctx, (void)key;
    place_free(value);
    return true;
}

void router_free(struct router *r)
{
    hmap_walk(&r->places, free_one, NULL);
    hmap_free(&r->places);
    while (r->asked) {
        struct waiter *w = r->asked;

        r->asked = w->next;
        free(w);
    }
    policies_free(r->env.policies);
    event_free(r->turn);
    free(r);
}
