#include "imapd/commands.h"

#include "common/log.h"
#include "imapd/session.h"
#include "imapd/words.h"

static bool check(struct imap_cmd *c)
{
    struct slice *program = arena_zalloc(c->arena, 2, sizeof *program);

    c->data = program;
    if (!program || !imap_parse_id(&c->args, &program[0], &program[1]))
        return imap_check_failed(c);
    return true;
}

/* RFC 2971 3.1: names only; a version would tell an attacker more than it tells a client. */
static enum imap_step run(struct imap_cmd *c)
{
    const struct slice *program = c->data;

    LOG(COMMAND, c->s->ws->sid, F_STR("command", "ID"), F_SLICE("name", program[0]),
        F_SLICE("version", program[1]));
    buf_add_str(imap_out(c->s), IMAP_ID_REPLY);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_id = {
    .name = "ID",
    .states = IMAP_IN_ANY,
    .flags = IMAP_NO_REFRESH,
    .arguments = "(name value ...) | NIL",
    .capability = "ID",
    .rfc = "RFC 2971 3.1",
    .check = check,
    .run = run,
};
