/*
 * rights: whose files are opened, when root runs a verb that works as the owner of the mail.
 *
 * What a person names on the command line is opened and written with the person's rights, what belongs to the
 * store with those of its owner (mailbox_common.h). Without root both are the same and nothing happens.
 */
#ifndef ADMIN_RIGHTS_H
#define ADMIN_RIGHTS_H

/* From here on the caller's, until rights_of_mail. Not nested. */
void rights_of_caller(void);
void rights_of_mail(void);

#endif
