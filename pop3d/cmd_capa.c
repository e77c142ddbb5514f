/* CAPA: RFC 2449 5, the same before and after the login but for STLS. */
#include "pop3d/pop3.h"

void pop3_write_capabilities(struct buf *out, bool stls, bool login, const char *mechanisms)
{
    buf_add(out, SLICE("+OK these are offered\r\n"));
    for (const struct pop3_command *const *c = pop3_commands; *c; c++) {
        if ((*c)->capability) {
            buf_add_str(out, (*c)->capability);
            buf_add(out, SLICE("\r\n"));
        }
    }
    /* RFC 3206 4: [AUTH], [SYS/TEMP] and [SYS/PERM] */
    buf_add(out, SLICE("RESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n"));
    if (stls) /* RFC 2595 8: before login only */
        buf_add(out, SLICE("STLS\r\n"));
    if (login)
        buf_add(out, SLICE("USER\r\n"));
    if (*mechanisms) {
        buf_add(out, SLICE("SASL "));
        buf_add_str(out, mechanisms);
        buf_add(out, SLICE("\r\n"));
    }
    buf_add(out, SLICE("IMPLEMENTATION postamt\r\n.\r\n"));
}

static enum pop3_step run(struct pop3_session *s)
{
    /* who is here could log in, so USER is on; RFC 2449 5: what was announced before the login still is */
    pop3_write_capabilities(pop3_out(s), false, true, s->mechanisms);
    return POP3_DONE;
}

const struct pop3_command pop3_capa = {
    .name = "CAPA", .arguments = "", .shape = POP3_NOTHING, .rfc = "RFC 2449 5", .run = run};
