/*
 * verbs: what the postamt command can do, one row a verb.
 *
 * The rows make --help, the reading of the command line and "did you mean"; tests compare them with the man
 * pages. A new verb is a row here, a function in the file of its noun and a paragraph in the noun's man page.
 */
#ifndef ADMIN_VERBS_H
#define ADMIN_VERBS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

struct cli;

/* Flags of all verbs. A name means the same everywhere and always has a value or never. */
enum flag {
    FLAG_CONFIG,
    FLAG_JSON,
    FLAG_PLAIN,
    FLAG_HELP,
    FLAG_VERSION,
    FLAG_DRY_RUN,
    FLAG_YES,
    FLAG_NAME,
    FLAG_QUOTA,
    FLAG_GENERATE,
    FLAG_HASH,
    FLAG_MAY_SEND,
    FLAG_NO_DELIVERY,
    FLAG_SINCE,
    FLAG_ALL,
    FLAG_ED25519,
    FLAG_ROTATE,
    FLAG_REMOVE,
    FLAG_FORMAT,
    FLAG_FROM,
    FLAG_TO,
    FLAG_DOMAIN,
    FLAG_LANGUAGE,
    FLAG_COUNT
};
#define FLAG_BIT(f) (1u << (f))
/* Every verb takes these. */
#define FLAGS_ALL (FLAG_BIT(FLAG_CONFIG) | FLAG_BIT(FLAG_JSON) | FLAG_BIT(FLAG_PLAIN) | FLAG_BIT(FLAG_HELP))

struct flag_row {
    const char *name;  /* without "--" */
    const char *value; /* "FILE"; NULL: a switch */
    const char *help;
};
extern const struct flag_row flag_rows[FLAG_COUNT];

struct noun {
    const char *name;
    const char *what;
};
/* Ends with a NULL name. */
extern const struct noun nouns[];

struct verb {
    const char *noun;
    const char *name;      /* NULL: the noun itself is what is done (status) */
    const char *arguments; /* as --help shows them: "ADDRESS [TARGET]" */
    size_t least, most;    /* how many of them */
    unsigned flags;        /* FLAG_BIT()s beyond FLAGS_ALL */
    bool bare;             /* the noun without a verb does this */
    const char *what;      /* one sentence; more stands in the man page */
    const char *example[2];
    /* Does it; another code than ERR_OK: c->fault says what happened. */
    enum err_code (*run)(struct cli *c);
};
/* Ends with a NULL noun. */
extern const struct verb verbs[];

/* NULL when there is none. name NULL: the row of the bare noun. */
const struct verb *verb_find(const char *noun, const char *name);
const struct noun *noun_find(const char *name);

/* To stdout. noun NULL: of the command; name NULL: of the noun. */
void verbs_help(const char *noun, const struct verb *verb);

#endif
