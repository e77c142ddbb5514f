/*
 * verify: looks whether a mailbox is as it should be, and puts right what can be put right without losing
 * anything: no message is ever deleted.
 *
 * Each finding is a sentence and what to do about it. repair does what the findings of its kind say: derived
 * files go (they are made anew), a wrong size in a name is corrected, an incomplete file in new/ (a crash of
 * the machine while another program wrote it) moves to lost+found/ beside the Maildir. Blocking; for the
 * postamt command, beside running daemons too.
 */
#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H

#include "store/account.h"

struct verify_finding {
    struct slice mailbox; /* empty: of the account */
    const char *file;     /* "" for the mailbox itself */
    const char *what;
    const char *fix;
    bool repairable; /* by repair */
    bool repaired;
};

typedef void verify_each(void *ctx, const struct verify_finding *f);

struct verify {
    struct account *account;
    bool repair, dry; /* dry: tells what repair would do */
    verify_each *each;
    void *ctx;
    uint64_t findings, repaired, messages, octets;
};

/* The folders of the account, then every mailbox. -1: it could not be looked at at all. */
int verify_account(struct verify *v, struct err *e);

#endif
