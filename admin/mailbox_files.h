/* mailbox_files: what import and export have in common: names of mailboxes and forms of files. */
#ifndef ADMIN_MAILBOX_FILES_H
#define ADMIN_MAILBOX_FILES_H

#include "admin/cli.h"

enum mailbox_format { FORMAT_ANY, FORMAT_MBOX, FORMAT_MAILDIR };

/* --format, or FORMAT_ANY. */
enum err_code mailbox_format(struct cli *c, enum mailbox_format *out);
/* A mailbox' name of the command line in its one form. */
enum err_code mailbox_name_of(struct cli *c, const char *text, struct buf *out);

#endif
