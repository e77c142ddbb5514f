/* NOOP: RFC 1939 5 */
#include "pop3d/pop3.h"

static enum pop3_step run(struct pop3_session *s)
{
    return pop3_ok(s, "still here");
}

const struct pop3_command pop3_noop = {
    .name = "NOOP", .arguments = "", .shape = POP3_NOTHING, .rfc = "RFC 1939 5", .run = run};
