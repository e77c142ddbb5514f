/* LIST: RFC 1939 5 */
#include "pop3d/pop3.h"
#include "pop3d/listing.h"

static char *write_line(const struct pop3_session *s, const struct pop3_message *m, char *p)
{
    (void)s;
    return listing_number(p, m->size);
}

static enum pop3_step run(struct pop3_session *s)
{
    if (s->args.has_message)
        return pop3_ok(s, "%u %llu", s->args.message, (unsigned long long)pop3_message(s)->size);
    if (s->at == 0)
        pop3_ok(s, "%zu messages (%llu octets)", s->left, (unsigned long long)s->octets);
    return listing_run(s, write_line);
}

const struct pop3_command pop3_list = {
    .name = "LIST", .arguments = "[message]", .shape = POP3_MAY_MESSAGE, .rfc = "RFC 1939 5", .run = run};
