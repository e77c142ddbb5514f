#include "queue/request.h"

#include <string.h>
#include <unistd.h>

enum { SMTPUTF8 = 1, EIGHT_BIT = 2, REQUIRETLS = 4 };

void enqueue_put(struct ipc_out *out, const struct enqueue *q, int text)
{
    const struct envelope *env = &q->env;

    ipc_begin(out, IPC_ENQUEUE);
    ipc_put_str(out, env->id.text);
    ipc_put(out, env->account);
    ipc_put(out, env->reverse_path);
    ipc_put(out, env->envid);
    ipc_put(out, env->forward);
    ipc_put_u64(out, env->ret);
    ipc_put_u64(out, env->language);
    ipc_put_u64(out, (env->smtputf8 ? SMTPUTF8 : 0u) | (env->is_8bit ? EIGHT_BIT : 0u) |
                         (env->requiretls ? REQUIRETLS : 0u));
    ipc_put_u64(out, (uint64_t)env->created);
    ipc_put_u64(out, env->size);
    trace_put(out, &q->trace);
    ipc_put_str(out, q->message.text);
    ipc_put_u64(out, env->nrecipients);
    for (uint32_t i = 0; i < env->nrecipients; i++) {
        ipc_put(out, env->recipients[i].address);
        ipc_put(out, env->recipients[i].orcpt);
        ipc_put_u64(out, env->recipients[i].notify);
    }
    ipc_put_fd(out, text);
}

static bool get_recipients(struct ipc_in *in, struct arena *arena, struct envelope *env)
{
    uint64_t n = ipc_get_u64(in);

    if (in->bad || n == 0 || n > ENVELOPE_RECIPIENTS_MAX)
        return false;
    env->recipients = arena_zalloc(arena, n, sizeof *env->recipients);
    if (!env->recipients)
        return false;
    env->nrecipients = (uint32_t)n;
    for (uint32_t i = 0; i < n && !in->bad; i++) {
        uint64_t notify;

        env->recipients[i].address = ipc_get(in);
        env->recipients[i].orcpt = ipc_get(in);
        notify = ipc_get_u64(in);
        if (notify > UINT8_MAX || env->recipients[i].address.n == 0)
            return false;
        env->recipients[i].notify = (uint8_t)notify;
    }
    return !in->bad;
}

bool enqueue_get(struct ipc_in *in, struct arena *arena, struct enqueue *q, int *text)
{
    struct envelope *env = &q->env;
    uint64_t ret, language, flags, created;
    struct slice id, message;

    *q = (struct enqueue){.env = {.nrecipients = 0}};
    *text = -1;
    id = ipc_get(in);
    env->account = ipc_get(in);
    env->reverse_path = ipc_get(in);
    env->envid = ipc_get(in);
    env->forward = ipc_get(in);
    ret = ipc_get_u64(in);
    language = ipc_get_u64(in);
    flags = ipc_get_u64(in);
    created = ipc_get_u64(in);
    env->size = ipc_get_u64(in);
    if (in->bad || !id_is_valid(id) || ret > ENVELOPE_RET_HDRS || language >= REPLY_LANGUAGES || flags > 7 ||
        created > INT64_MAX || env->size > INT64_MAX || !trace_get(ipc_get(in), &q->trace))
        return false;
    message = ipc_get(in);
    if (in->bad || !id_is_valid(message))
        return false;
    memcpy(env->id.text, id.p, ID_LEN);
    memcpy(q->message.text, message.p, ID_LEN);
    env->ret = (enum envelope_ret)ret;
    env->language = (enum reply_language)language;
    env->smtputf8 = flags & SMTPUTF8;
    env->is_8bit = flags & EIGHT_BIT;
    env->requiretls = flags & REQUIRETLS;
    env->created = (int64_t)created;
    if (!get_recipients(in, arena, env))
        return false;
    *text = ipc_get_fd(in);
    if (ipc_end(in))
        return true;
    if (*text >= 0)
        close(*text);
    *text = -1;
    return false;
}
