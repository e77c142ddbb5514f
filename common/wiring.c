#include "common/wiring.h"

#include "common/settings.h"

const struct role_row role_rows[ROLE_COUNT] = {
#define NO_CERTIFICATES false
#define CERTIFICATES true
#define X(id, name_, program_, uid_, tls_, many_)                                                            \
    [ROLE_##id] = {                                                                                          \
        .name = name_,                                                                                       \
        .program = program_,                                                                                 \
        .user = ROLE_USER_##uid_,                                                                            \
        .certificates = tls_,                                                                                \
        .many = ROLE_##many_,                                                                                \
    },
    ROLE_TABLE(X)
#undef X
};

static const struct {
    enum role_id a, b;
} wires[] = {
#define X(a, b) {ROLE_##a, ROLE_##b},
    WIRE_TABLE(X)
#undef X
};

const char *role_user_name(enum role_user user)
{
    static const char *const names[ROLE_USER_COUNT] = {
        [ROLE_USER_AUTH] = "postamt-auth",
        [ROLE_USER_MAIL] = "postamt",
        [ROLE_USER_NET] = "postamt-net",
        [ROLE_USER_QUEUE] = "postamt-queue",
    };

    return names[user];
}

enum role_id role_by_name(struct slice name)
{
    for (unsigned i = 0; i < ROLE_COUNT; i++)
        if (slice_eq(name, slice_str(role_rows[i].name)))
            return (enum role_id)i;
    return ROLE_COUNT;
}

bool role_is_wired(enum role_id a, enum role_id b)
{
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++)
        if ((wires[i].a == a && wires[i].b == b) || (wires[i].a == b && wires[i].b == a))
            return true;
    return false;
}

enum role_id role_front_of(int service)
{
    switch (service) {
    case SERVICE_SMTP:
    case SERVICE_SUBMISSION:
        return ROLE_SMTPD_FRONT;
    case SERVICE_IMAP:
        return ROLE_IMAPD_FRONT;
    case SERVICE_POP3:
        return ROLE_POP3D_FRONT;
    default:
        return ROLE_COUNT;
    }
}
