/*
 * sandbox_tries: what a captured process would like to do, each as a function that does it once. test_sandbox
 * makes each try in a process of each row of the sandbox table, where it must be refused, and in one without
 * a fence, where it must succeed: a try that cannot succeed anywhere would prove nothing.
 *
 * The tries work on a tree that tries_tree_make() makes anew below tries_top:
 *
 *      mail/anna/old   a mail as another server left it, 0600      state/anna/index
 *      mail/anna/new   one of ours, 0400                           state/bert/index
 *      mail/bert/new   another user's                              spool/letter, queue/letter
 *      auth/environment/__db.001, auth/environment/accounts, auth/dump
 *      tls/key, elsewhere (readable for all)
 */
#ifndef TESTS_SANDBOX_TRIES_H
#define TESTS_SANDBOX_TRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Rows of the sandbox table, as bits; those that may do it are left out of a try. */
#define TRY_ROW(id) ((uint32_t)1 << (id))

enum try_by {
    TRY_BY_FILES,  /* Landlock refuses it, whatever its ABI */
    TRY_BY_FILES3, /* Landlock from ABI 3 on, before that the system call filter */
    TRY_BY_CALLS,  /* the system call filter */
};

struct
try {
    const char *name;
    long (*make)(void); /* like a system call: -1 with errno when refused */
    enum try_by by;
    bool maybe; /* there are machines and containers where nobody may */
    uint32_t may;
};

extern const struct try tries[];
extern const size_t tries_count;

/* What the tries aim at; made before the fence stands. */
extern char tries_top[];
extern pid_t tries_sibling; /* a process of the same user */
struct try_fds {
    int mail;    /* a mail, open for reading */
    int program; /* /bin/true */
    int sibling; /* pidfd */
    int fresh;   /* a TCP socket nobody has used */
    int other;   /* and another one */
};
extern struct try_fds tries_fds;
extern uint16_t tries_port; /* of 127.0.0.1, in network order, somebody listens there */

/* -1 with errno. Removes what was there. */
int tries_tree_make(void);
/* What the tree holds, with modes and times, as text: the same text, the same tree. Freed by the caller. */
char *tries_tree_text(void);
int tries_tree_remove(void);

#endif
