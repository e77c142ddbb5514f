#include "auth/authd.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/account.h"

/* Constant, and counted from the client's last words: neither the reason nor how long its hash took shows
 * (security.md 4.3, A01). */
#define FAILURE_DELAY_US 2000000
#define TICKET_LEN 16
#define TRIED_MAX 512

struct login_key {
    uint64_t front, instance, session;
};

/* One login, from AUTH_START or AUTH_LOGIN to its answer. */
struct login {
    struct pool_job job; /* first */
    struct authd *a;
    struct login_key key;
    struct sasl_exchange *exchange; /* NULL: user and password */
    char *sid, *service, *ip;
    struct timespec since; /* the client's last words came */
    bool busy;             /* a thread works on it */
    bool cancelled;        /* the client went away meanwhile */
    /* in, for the thread */
    char *mechanism;
    bool is_start, has_initial;
    struct buf input, user, password;
    /* out */
    enum sasl_outcome outcome;
    struct buf to_client, account;
    struct err err;
};

static void wipe(struct buf *b)
{
    if (b->p)
        mem_wipe(b->p, b->size);
    buf_free(b);
}

static void login_free(struct login *l)
{
    hmap_remove(&l->a->logins, slice_of(&l->key, sizeof l->key));
    sasl_exchange_free(l->exchange);
    wipe(&l->input);
    wipe(&l->password);
    buf_free(&l->user);
    buf_free(&l->to_client);
    buf_free(&l->account);
    free(l->mechanism);
    free(l->sid);
    free(l->service);
    free(l->ip);
    free(l);
}

static struct ipc *front_of(struct login *l)
{
    return role_peer(l->a->role, (enum role_id)l->key.front, (unsigned)l->key.instance);
}

static enum role_id parent_of(uint64_t front)
{
    return front == ROLE_IMAPD_FRONT   ? ROLE_IMAPD_PARENT
           : front == ROLE_POP3D_FRONT ? ROLE_POP3D_PARENT
                                       : ROLE_SMTPD_PARENT;
}

static struct slice user_of(struct login *l)
{
    return l->exchange ? sasl_exchange_user(l->exchange) : buf_slice(&l->user);
}

/* Stands for the password that was tried: a program that repeats its one wrong password is not an attacker
 * (clients.md 17). With PLAIN and LOGIN the client's last words, with SCRAM another each time. */
static struct slice tried(const struct login *l)
{
    return slice_sub(buf_slice(l->exchange ? &l->input : &l->password), 0, TRIED_MAX);
}

static void heard(struct login *l)
{
    INVARIANT(clock_gettime(CLOCK_MONOTONIC, &l->since) == 0);
}

/* What is left of the delay. */
static uint64_t delay_us(const struct login *l)
{
    struct timespec now;
    int64_t gone;

    INVARIANT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    gone = (int64_t)(now.tv_sec - l->since.tv_sec) * 1000000 + (now.tv_nsec - l->since.tv_nsec) / 1000;
    return gone < FAILURE_DELAY_US ? (uint64_t)(FAILURE_DELAY_US - gone) : 0;
}

static void refuse(struct login *l, enum err_code code)
{
    bool late = code == ERR_AUTH_FAILED || code == ERR_AUTH_SLOW_DOWN;
    struct slice user = user_of(l);
    struct ipc_out out;

    LOG(LOGIN_FAILED, l->sid, F_SLICE("user", user), F_STR("ip", l->ip), F_STR("service", l->service),
        F_STR("code", err_row(code)->name), F_STR("why", l->err.detail));
    ipc_begin(&out, IPC_AUTH_REFUSED);
    ipc_put_u64(&out, l->key.session);
    ipc_put_u64(&out, code);
    ipc_put_u64(&out, late ? delay_us(l) : 0);
    ipc_send(front_of(l), &out);
    login_free(l);
}

/* First the parent, then the front: the ticket is there before anybody can use it. */
static void accept_login(struct login *l)
{
    struct authd *a = l->a;
    struct slice account = buf_slice(&l->account);
    char ticket[TICKET_LEN];
    struct directory_account entry;
    struct buf path = BUF_INIT(1024);
    uint64_t octets = 0, messages = 0;
    struct ipc_out out;

    if (directory_account_get(a->directory, account, &entry, &l->err) < 0 ||
        account_path(account, &path, &l->err) < 0) {
        buf_free(&path);
        refuse(l, ERR_UNAVAILABLE);
        return;
    }
    /* after an unclean end nobody knows what lies there: a deliver counts, the workers hear of it in a moment
     */
    if (!directory_usage_get(a->directory, account, &octets, &messages) && entry.quota > 0) {
        ipc_begin(&out, IPC_COUNT);
        ipc_put(&out, account);
        ipc_put(&out, buf_slice(&path));
        ipc_send(role_peer(a->role, ROLE_SMTPD_PARENT, 0), &out);
    }
    throttle_succeeded(a->throttle, slice_str(l->ip), account, authd_now());
    id_random(ticket, sizeof ticket);
    ipc_begin(&out, IPC_AUTH_TICKET);
    ipc_put_u64(&out, l->key.instance);
    ipc_put_u64(&out, l->key.session);
    ipc_put(&out, slice_of(ticket, sizeof ticket));
    ipc_put(&out, account);
    ipc_put(&out, buf_slice(&path));
    ipc_put_u64(&out, entry.quota);
    ipc_put_u64(&out, octets);
    ipc_send(role_peer(a->role, parent_of(l->key.front), 0), &out);
    ipc_begin(&out, IPC_AUTH_OK);
    ipc_put_u64(&out, l->key.session);
    ipc_put(&out, account);
    ipc_put(&out, slice_of(ticket, sizeof ticket));
    ipc_put(&out, buf_slice(&l->to_client));
    ipc_send(front_of(l), &out);
    LOG(LOGIN, l->sid, F_SLICE("user", account), F_STR("ip", l->ip), F_STR("service", l->service),
        F_STR("mechanism", l->mechanism ? l->mechanism : "password"));
    mem_wipe(&entry, sizeof entry);
    buf_free(&path);
    login_free(l);
}

static void finish(struct login *l)
{
    struct authd *a = l->a;
    struct ipc_out out;

    if (l->cancelled) {
        login_free(l);
        return;
    }
    switch (l->outcome) {
    case SASL_CONTINUE_EXCHANGE:
        ipc_begin(&out, IPC_AUTH_CHALLENGE);
        ipc_put_u64(&out, l->key.session);
        ipc_put(&out, buf_slice(&l->to_client));
        ipc_send(front_of(l), &out);
        return;
    case SASL_DONE:
        /* with SASL the user is known only now: too many failures hold a right password back as well */
        if (!throttle_allows(a->throttle, slice_str(l->ip), buf_slice(&l->account), authd_now())) {
            refuse(l, ERR_AUTH_SLOW_DOWN);
            return;
        }
        accept_login(l);
        if (directory_generation(a->directory) != a->generation)
            login_announce(a, NULL);
        return;
    case SASL_REFUSED:
    default:
        if (l->err.code == ERR_AUTH_FAILED)
            throttle_failed(a->throttle, slice_str(l->ip), user_of(l), tried(l), authd_now());
        refuse(l, l->err.code);
        return;
    }
}

static void work(struct pool_job *job)
{
    struct login *l = (struct login *)job;

    if (!l->exchange)
        l->outcome = sasl_check_password(l->a->sasl, l->service, buf_slice(&l->user), buf_slice(&l->password),
                         &l->account, &l->err)
                         ? SASL_DONE
                         : SASL_REFUSED;
    else if (l->is_start)
        l->outcome = sasl_exchange_start(l->exchange, slice_str(l->mechanism), l->has_initial,
            buf_slice(&l->input), &l->to_client, &l->account, &l->err);
    else
        l->outcome =
            sasl_exchange_step(l->exchange, buf_slice(&l->input), &l->to_client, &l->account, &l->err);
}

static void done(struct pool_job *job)
{
    struct login *l = (struct login *)job;

    l->busy = false;
    finish(l);
}

static void submit(struct login *l)
{
    l->busy = true;
    l->err = (struct err){0};
    buf_clear(&l->to_client);
    if (pool_submit(l->a->pool, &l->job))
        return;
    l->busy = false;
    err_set(&l->err, ERR_AUTH_BUSY, "too many logins wait");
    refuse(l, ERR_AUTH_BUSY);
}

static struct login *login_new(
    struct authd *a, const struct login_key *key, struct slice sid, struct slice service, struct slice ip)
{
    struct login *l = mem_zalloc(1, sizeof *l);

    *l = (struct login){.a = a,
        .key = *key,
        .input = BUF_INIT(IPC_MAX),
        .user = BUF_INIT(1024),
        .password = BUF_INIT(IPC_MAX),
        .to_client = BUF_INIT(IPC_MAX / 2),
        .account = BUF_INIT(1024)};
    l->job.work = work;
    l->job.done = done;
    l->sid = slice_dup(sid);
    l->service = slice_dup(service);
    l->ip = slice_dup(ip);
    heard(l);
    if (!l->sid || !l->service || !l->ip) {
        login_free(l);
        return NULL;
    }
    hmap_put(&a->logins, slice_of(&l->key, sizeof l->key), l);
    return l;
}

static bool start_exchange(struct authd *a, const struct login_key *key, struct ipc_in *in)
{
    struct slice sid = ipc_get(in), service = ipc_get(in), mechanism = ipc_get(in), ip = ipc_get(in);
    bool tls = ipc_get_bool(in), has_initial = ipc_get_bool(in);
    struct slice initial = ipc_get(in);
    struct login *l;

    if (!ipc_end(in) || hmap_get(&a->logins, slice_of(key, sizeof *key)))
        return false;
    l = login_new(a, key, sid, service, ip);
    if (!l)
        return false;
    if (!throttle_allows(a->throttle, ip, SLICE(""), authd_now())) {
        refuse(l, ERR_AUTH_SLOW_DOWN);
        return true;
    }
    l->mechanism = slice_dup(mechanism);
    l->exchange = l->mechanism ? sasl_exchange_new(a->sasl, l->service, tls, l->ip) : NULL;
    if (!l->exchange) {
        refuse(l, ERR_AUTH_MECHANISM);
        return true;
    }
    l->is_start = true;
    l->has_initial = has_initial;
    buf_add(&l->input, initial);
    submit(l);
    return true;
}

static bool step(struct authd *a, const struct login_key *key, struct ipc_in *in)
{
    struct slice data = ipc_get(in);
    struct login *l = hmap_get(&a->logins, slice_of(key, sizeof *key));

    if (!ipc_end(in) || (l && (l->busy || !l->exchange)))
        return false;
    if (!l)
        return true; /* refused meanwhile */
    l->is_start = false;
    heard(l);
    buf_clear(&l->input);
    buf_add(&l->input, data);
    submit(l);
    return true;
}

static void cancel(struct login *l)
{
    if (l->busy)
        l->cancelled = true;
    else
        login_free(l);
}

static bool user_and_password(struct authd *a, const struct login_key *key, struct ipc_in *in)
{
    struct slice sid = ipc_get(in), service = ipc_get(in), ip = ipc_get(in);
    struct slice user, password;
    struct login *l;

    ipc_get_bool(in);
    user = ipc_get(in);
    password = ipc_get(in);
    if (!ipc_end(in) || hmap_get(&a->logins, slice_of(key, sizeof *key)))
        return false;
    l = login_new(a, key, sid, service, ip);
    if (!l)
        return false;
    buf_add(&l->user, user);
    buf_add(&l->password, password);
    if (l->user.full)
        buf_clear(&l->user); /* longer than any address: fails as every unknown user does */
    if (!throttle_allows(a->throttle, ip, buf_slice(&l->user), authd_now())) {
        refuse(l, ERR_AUTH_SLOW_DOWN);
        return true;
    }
    if (sasl_check_is_cached(a->sasl, l->service, user, password)) {
        work(&l->job);
        finish(l);
        return true;
    }
    submit(l);
    return true;
}

bool login_message(struct authd *a, enum role_id front, unsigned instance, struct ipc *ch, struct ipc_in *in)
{
    struct login_key key = {front, instance, ipc_get_u64(in)};
    struct login *l;

    (void)ch;
    switch (in->type) {
    case IPC_AUTH_START:
        return start_exchange(a, &key, in);
    case IPC_AUTH_STEP:
        return step(a, &key, in);
    case IPC_AUTH_LOGIN:
        return user_and_password(a, &key, in);
    case IPC_AUTH_CANCEL:
        if (!ipc_end(in))
            return false;
        l = hmap_get(&a->logins, slice_of(&key, sizeof key));
        if (l)
            cancel(l);
        return true;
    default:
        return false;
    }
}

static bool cancel_of_front(void *ctx, struct slice key, void *value)
{
    const struct login_key *gone = ctx;
    struct login *l = value;

    (void)key;
    if (l->key.front == gone->front && l->key.instance == gone->instance)
        cancel(l); /* removes the entry the walk stands on */
    return true;
}

void login_front_gone(struct authd *a, enum role_id front, unsigned instance)
{
    struct login_key gone = {front, instance, 0};

    hmap_walk(&a->logins, cancel_of_front, &gone);
}

void login_announce(struct authd *a, struct ipc *to)
{
    static const enum role_id fronts[] = {ROLE_SMTPD_FRONT, ROLE_IMAPD_FRONT, ROLE_POP3D_FRONT};
    bool scram = strcmp(a->role->settings->auth_scram, "off") != 0 && directory_all_have_scram(a->directory);
    const char *now = sasl_server_mechanisms(a->sasl, scram);
    bool changed = strcmp(now, a->mechanisms) != 0;
    struct ipc_out out;

    a->generation = directory_generation(a->directory);
    if (changed && strlen(now) < sizeof a->mechanisms)
        memcpy(a->mechanisms, now, strlen(now) + 1);
    for (size_t i = 0; i < a->role->npeers; i++) {
        struct ipc *ch = a->role->peers[i].ch;
        bool is_front = false;

        for (size_t k = 0; k < sizeof fronts / sizeof *fronts; k++)
            is_front |= a->role->peers[i].id == fronts[k];
        if (!ch || !is_front || (!changed && ch != to))
            continue;
        ipc_begin(&out, IPC_AUTH_MECHANISMS);
        ipc_put_str(&out, a->mechanisms);
        ipc_send(ch, &out);
    }
}
