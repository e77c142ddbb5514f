/* DATA (RFC 5321 4.1.1.4), and what DATA and BDAT share: the end of a text. */
#include <unistd.h>

#include "smtpd/smtpd.h"

static void run(struct smtp_session *s)
{
    smtp_text_begin(&s->text, s->c->settings->message_size);
    s->phase = SMTP_TEXT;
    smtp_time_text(s);
    smtp_reply(s, 354, "", "go on; end with a line that holds only a dot");
}

bool smtp_text_is_endless(struct smtp_session *s)
{
    if (s->text.machine.size / 2 <= s->c->settings->message_size)
        return false;
    smtp_reply(
        s, 552, "5.3.4", "the message is far larger than this server takes; send large files by a link");
    LOG(REJECTED, s->id.text, F_STR("sid", s->c->sid.text), F_STR("ip", s->c->ip), F_SLICE("from", s->from),
        F_U64("size", s->text.machine.size), F_U64("code", 552));
    s->end = true;
    return true;
}

static void refuse(struct smtp_session *s, const struct smtp_verdict *v)
{
    LOG(REJECTED, s->id.text, F_STR("sid", s->c->sid.text), F_STR("ip", s->c->ip), F_SLICE("from", s->from),
        F_U64("size", s->text.machine.size), F_U64("code", v->code), F_STR("why", v->text));
    smtp_reply(s, v->code, v->enhanced, "%s", v->text);
    s->end |= v->close;
    smtp_forget_mail(s);
}

static bool give_to_parent(struct smtp_session *s, int fd, uint64_t size)
{
    struct buf tls = BUF_INIT(256);
    struct ipc_out out;

    stream_tls_text(s->c->stream, &tls);
    ipc_begin(&out, IPC_MAIL);
    ipc_put_u64(&out, s->c->session);
    ipc_put_str(&out, s->id.text);
    ipc_put(&out, s->from);
    ipc_put_str(&out, s->helo);
    ipc_put(&out, buf_slice(&tls));
    ipc_put_u64(&out, s->is_extended);
    ipc_put_u64(&out, s->smtputf8);
    ipc_put_u64(&out, s->is_8bit);
    ipc_put_u64(&out, s->requiretls);
    ipc_put_u64(&out, s->ret);
    ipc_put(&out, s->envid);
    ipc_put_u64(&out, size);
    ipc_put_u64(&out, s->nrcpts);
    for (const struct smtp_rcpt *r = s->rcpts; r; r = r->next) {
        ipc_put(&out, r->address);
        ipc_put(&out, r->orcpt);
        ipc_put_u64(&out, r->notify);
    }
    ipc_put_fd(&out, fd);
    buf_free(&tls);
    return front_send(s->c, ROLE_SMTPD_PARENT, &out);
}

void smtp_text_ended(struct smtp_session *s)
{
    /* NUL octets come from mail programs too (clients.md quirk 15); between servers they are a sign of
     * something else */
    struct smtp_verdict v = smtp_text_judge(&s->text, s->account != NULL);
    uint64_t size = s->text.machine.size;
    int fd;

    s->phase = SMTP_COMMAND;
    if (v.code) {
        refuse(s, &v);
        return;
    }
    fd = smtp_text_take(&s->text);
    if (fd < 0) {
        smtp_reply_err(s, ERR_NO_SPACE);
        smtp_forget_mail(s);
        return;
    }
    if (!give_to_parent(s, fd, size)) {
        smtp_reply_err(s, ERR_UNAVAILABLE);
        smtp_forget_mail(s);
        return;
    }
    smtp_wait(s, SMTP_WAIT_KEPT);
}

void smtp_on_kept(struct smtp_session *s, enum err_code code)
{
    uint64_t ms = (uint64_t)(smtp_now() - s->began);

    if (code == ERR_OK) {
        LOG(RECEIVED, s->id.text, F_STR("sid", s->c->sid.text), F_STR("ip", s->c->ip),
            F_STR("account", s->account ? s->account : ""), F_SLICE("from", s->from),
            F_U64("nrcpt", s->nrcpts), F_U64("size", s->text.machine.size), F_U64("ms", ms));
        s->junk = 0;
        smtp_reply(s, 250, "2.0.0", "kept as %s", s->id.text);
    } else {
        LOG(REJECTED, s->id.text, F_STR("sid", s->c->sid.text), F_STR("ip", s->c->ip),
            F_SLICE("from", s->from), F_U64("size", s->text.machine.size), F_STR("why", err_row(code)->name));
        smtp_reply_err(s, code);
    }
    smtp_forget_mail(s);
    smtp_go(s);
}

const struct smtp_command smtp_cmd_data = {
    .name = "DATA",
    .states = SMTP_IN_RCPT,
    .flags = SMTP_LAST,
    .arguments = "",
    .rfc = "RFC 5321 4.1.1.4",
    .check = smtp_check_none,
    .run = run,
};
