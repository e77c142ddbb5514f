/*
 * foreign_export: a mailbox back to Dovecot.
 *
 * Writes dovecot-uidlist (version 3) and the account's dovecot-uidvalidity for the names as they are now.
 * dovecot-keywords and subscriptions need nothing: they are kept in Dovecot's form at all times. The other
 * server must not run on the tree meanwhile, as it would not see our lock. Blocking, local files.
 */
#ifndef STORE_FOREIGN_EXPORT_H
#define STORE_FOREIGN_EXPORT_H

#include "store/mailbox.h"

struct foreign_export {
    uint32_t uidvalidity;
    uint32_t uidnext;
    uint64_t messages;
    uint64_t renamed; /* names that had to change: no U= yet, or $Forwarded as a letter of its own */
};

/* dry: nothing is written, and nothing in the mailbox is touched. ERR_NO_MAILBOX. */
int foreign_export(
    struct account *a, struct slice mailbox, bool dry, struct foreign_export *out, struct err *e);
/* The highest UIDVALIDITY that was given out, so that Dovecot goes on above it. */
int foreign_export_uidvalidity(struct account *a, uint32_t highest, struct err *e);

#endif
