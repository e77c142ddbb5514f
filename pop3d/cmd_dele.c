/* DELE and RSET: RFC 1939 5. They mark and take marks away; QUIT deletes. */
#include "pop3d/pop3.h"

static enum pop3_step run_dele(struct pop3_session *s)
{
    struct pop3_message *m = pop3_message(s);

    m->deleted = true;
    s->left--;
    s->octets -= m->size;
    return pop3_ok(s, "message %u goes at QUIT", s->args.message);
}

static enum pop3_step run_rset(struct pop3_session *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (!s->msgs[i].deleted)
            continue;
        s->msgs[i].deleted = false;
        s->left++;
        s->octets += s->msgs[i].size;
    }
    return pop3_ok(s, "%zu messages (%llu octets)", s->left, (unsigned long long)s->octets);
}

const struct pop3_command pop3_dele = {
    .name = "DELE", .arguments = "message", .shape = POP3_MESSAGE, .rfc = "RFC 1939 5", .run = run_dele};
const struct pop3_command pop3_rset = {
    .name = "RSET", .arguments = "", .shape = POP3_NOTHING, .rfc = "RFC 1939 5", .run = run_rset};
