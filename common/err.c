#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"

static const struct err_row rows[] = {
#define X(name_, imap_, smtp_, enhanced_, pop3_, level_, text_)                                              \
    [ERR_##name_] = {                                                                                        \
        .name = #name_,                                                                                      \
        .imap = imap_,                                                                                       \
        .smtp = smtp_,                                                                                       \
        .enhanced = enhanced_,                                                                               \
        .pop3 = pop3_,                                                                                       \
        .level = LOG_LEVEL_##level_,                                                                         \
        .text = text_,                                                                                       \
    },
    ERR_TABLE(X)
#undef X
};

const struct err_row *err_row(enum err_code code)
{
    return &rows[err_code_checked(code)];
}

enum err_code err_code_checked(unsigned code)
{
    return code < ERR_COUNT ? (enum err_code)code : ERR_INTERNAL;
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;

    if (!e)
        return -1;
    e->code = code;
    va_start(ap, fmt);
    vsnprintf(e->detail, sizeof e->detail, fmt, ap);
    va_end(ap);
    return -1;
}

int err_errno(struct err *e, const char *what)
{
    int no = errno;

    return err_set(e, no == ENOSPC || no == EDQUOT ? ERR_NO_SPACE : ERR_IO, "%s: %s", what, strerror(no));
}
