/*
 * mailbox_common: how the verbs of `postamt mailbox` come to the mail of an account.
 *
 * They open the store themselves, in this process, beside the daemons: the store takes several processes at
 * once. Whether the account exists, and what it has used, is the directory's to say (admin/link.h): it is
 * asked in a child process, because with the daemons down that becomes the directory's owner for good. Run by
 * root the process has the rights of the mail's owner from the first opened account on, so that no file ever
 * belongs to root.
 *
 *     struct mailbox_place p;
 *     code = mailbox_open_account(c, c->args.object[0], &p);
 *     if (code == ERR_OK) { .. p.account ..; mailbox_add_usage(c, &p, octets, messages); }
 *     mailbox_close_account(&p);
 */
#ifndef ADMIN_MAILBOX_COMMON_H
#define ADMIN_MAILBOX_COMMON_H

#include "admin/link.h"
#include "store/account.h"

struct mailbox_place {
    char *address; /* as the directory has it */
    char *path;    /* account_path() of it, below mail_root and state_root */
    int mail_root, state_root;
    struct account *account;
    uint64_t quota; /* octets, 0: none; with mailbox_open_account only */
    uint64_t used;
    bool used_known; /* false: nobody has counted yet */
};

/* The account is in the directory; its folders are made if it never had mail. On failure too *p is for
 * mailbox_close_account, which frees all; the caller has closed its mailboxes before. */
enum err_code mailbox_open_account(struct cli *c, const char *address, struct mailbox_place *p);
void mailbox_close_account(struct mailbox_place *p);
/* Several accounts one after another: opens without asking the directory again. */
enum err_code mailbox_open_known(struct cli *c, const char *address, struct mailbox_place *p);
/* The addresses of all accounts; free each and the array. */
enum err_code mailbox_addresses(struct cli *c, char ***out, size_t *n);

/* What came into the account or (negative) went from it, durable already, for its counters. What is not known
 * there stays unknown, until it is counted from the names. */
enum err_code mailbox_add_usage(
    struct cli *c, const struct mailbox_place *p, int64_t octets, int64_t messages);

/* A store's error as the verb's. */
enum err_code mailbox_fault(struct cli *c, const struct err *e);

#endif
