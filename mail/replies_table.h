/*
 * replies_table: the rows behind mail/replies.h.
 *
 * meanings: what can be the matter, in words; rules: how to recognise it. A new rule is a row; its place
 * counts.
 */
#ifndef MAIL_REPLIES_TABLE_H
#define MAIL_REPLIES_TABLE_H

#include "mail/replies.h"

/* Providers: the ends of their servers' names. */
enum reply_provider {
    FROM_ANY,
    FROM_GMAIL,
    FROM_MICROSOFT,
    FROM_YAHOO,
    FROM_GMX,
    FROM_TONLINE,
    FROM_ICLOUD,
    FROM_PROVIDERS
};

struct reply_host {
    const char *name;
    const char *ends[6]; /* NULL-ended */
};
extern const struct reply_host replies_hosts[FROM_PROVIDERS];

struct reply_row {
    const char *name;
    enum reply_class reply_class;
    bool is_admin;
    const char *cause[REPLY_LANGUAGES], *fix[REPLY_LANGUAGES];
};

enum { ANY = -1 };

struct reply_rule {
    const char *name; /* of the meaning */
    enum reply_provider from;
    int code;                 /* 0: any; 4 or 5: of that class; else that code */
    int subject, first, last; /* enhanced code: x.subject.first .. x.subject.last; ANY: any or none */
    const char *words;        /* somewhere in the text, ASCII case-blind; NULL: whatever it says */
};

extern const struct reply_row replies_rows[];
extern const size_t replies_nrows;
extern const struct reply_rule replies_rules[];
extern const size_t replies_nrules;

#endif
