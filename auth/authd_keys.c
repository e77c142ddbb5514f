/* The DKIM keys of our domains, on their way to queued, which signs with them. */
#include "auth/authd.h"
#include "auth/directory_name.h"
#include "auth/dkim_keys.h"
#include "common/log.h"
#include "common/mem.h"

static void put_key(struct ipc_out *out, const struct dkim_stored *stored)
{
    struct buf pem = BUF_INIT(DKIM_PEM_MAX);

    INVARIANT(dkim_key_pem(stored->key, &pem));
    ipc_put_str(out, stored->selector);
    ipc_put(out, buf_slice(&pem));
    mem_wipe(pem.p, pem.size);
    buf_free(&pem);
}

/* domain: normalised */
static void send_domain(struct authd *a, struct ipc *queued, struct slice domain, bool is_ours)
{
    struct dkim_stored_list list = {.n = 0};
    struct err e = {0};
    struct ipc_out out;

    if (is_ours && dkim_keys_load(directory_folder(a->directory), domain, &list, &e) < 0)
        LOG(DIRECTORY, NULL, F_SLICE("domain", domain), F_STR("dkim", e.detail));
    ipc_begin(&out, IPC_DOMAIN_KEYS);
    ipc_put(&out, domain);
    ipc_put_u64(&out, is_ours);
    ipc_put_u64(&out, list.n);
    for (size_t i = 0; i < list.n; i++)
        put_key(&out, &list.item[i]);
    ipc_send(queued, &out);
    dkim_keys_free(&list);
}

struct all {
    struct authd *a;
    struct ipc *queued;
};

static void each_domain(void *ctx, struct slice domain)
{
    const struct all *all = ctx;

    send_domain(all->a, all->queued, domain, true);
}

void keys_send_all(struct authd *a, struct ipc *queued)
{
    struct all all = {a, queued};
    struct ipc_out out;

    directory_domains(a->directory, each_domain, &all);
    ipc_begin(&out, IPC_DOMAIN_KEYS_END);
    ipc_send(queued, &out);
}

void keys_send_changed(struct authd *a, struct slice domain)
{
    struct ipc *queued = role_peer(a->role, ROLE_QUEUED, 0);
    struct name n;

    if (name_of_domain(domain, &n) && queued)
        send_domain(a, queued, n.domain, directory_has_domain(a->directory, n.domain));
    name_free(&n);
}
