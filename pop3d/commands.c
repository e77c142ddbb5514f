/* The list of commands, and how a line of a logged-in client is read. */
#include "common/ascii.h"
#include "pop3d/pop3.h"

const struct pop3_command *const pop3_commands[] = {
    &pop3_retr, /* the frequent ones first */
    &pop3_dele,
    &pop3_list,
    &pop3_uidl,
    &pop3_stat,
    &pop3_top,
    &pop3_quit,
    &pop3_noop,
    &pop3_rset,
    &pop3_capa,
    NULL,
};

/* Valid before login only; front.c has them. */
static const char *const login_commands[] = {"USER", "PASS", "AUTH", "STLS", "APOP"};

/* The next word; several blanks are forgiven. */
static struct slice next_word(struct slice *rest)
{
    struct slice word = {0};

    while (word.n == 0 && slice_cut(rest, ' ', &word))
        ;
    return word;
}

/*
 * A message number. Whatever is made of digits is one; what no message can have (0, or a number beyond 32
 * bits) is told as 0, and the driver answers that there is no such message.
 */
static bool read_message(struct slice word, struct pop3_arguments *args)
{
    uint64_t v;

    for (size_t i = 0; i < word.n; i++)
        if (!ascii_is_digit(word.p[i]))
            return false;
    args->has_message = word.n > 0;
    args->message = slice_u64(word, UINT32_MAX, &v) ? (uint32_t)v : 0;
    return args->has_message;
}

static bool read_arguments(enum pop3_shape shape, struct slice rest, struct pop3_arguments *args)
{
    struct slice word = next_word(&rest);
    uint64_t lines;

    if (shape == POP3_NOTHING || (shape == POP3_MAY_MESSAGE && word.n == 0))
        return word.n == 0;
    if (!read_message(word, args))
        return false;
    if (shape == POP3_MESSAGE_LINES) {
        if (!slice_u64(next_word(&rest), UINT32_MAX, &lines))
            return false;
        args->lines = (uint32_t)lines;
    }
    return next_word(&rest).n == 0;
}

enum pop3_parse pop3_parse(struct slice line, const struct pop3_command **row, struct pop3_arguments *args)
{
    struct slice name = next_word(&line);

    *args = (struct pop3_arguments){0};
    *row = NULL;
    for (const struct pop3_command *const *c = pop3_commands; *c; c++) {
        if (!slice_eq_nocase(name, slice_str((*c)->name)))
            continue;
        *row = *c;
        return read_arguments((*c)->shape, line, args) ? POP3_PARSED : POP3_BAD_ARGUMENTS;
    }
    for (size_t i = 0; i < sizeof login_commands / sizeof *login_commands; i++)
        if (slice_eq_nocase(name, slice_str(login_commands[i])))
            return POP3_LOGIN_ONLY;
    return POP3_UNKNOWN;
}
