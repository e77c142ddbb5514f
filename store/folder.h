/*
 * folder: mailbox names, from the protocol to the disk and back (Maildir++).
 *
 * In memory a mailbox name is UTF-8 (NFC), hierarchy separator '/'. INBOX in any case is "INBOX". On disk a
 * mailbox is a folder of the account's Maildir: "" for INBOX, ".A.B" for "A/B", each part in modified UTF-7,
 * dots, and whatever is not on the allow-list escaped, so that no name can leave the Maildir or meet cur,
 * new, tmp or our files (security.md I07). The mapping is one to one: folder_to_disk and folder_from_disk
 * undo each other. Pure functions.
 */
#ifndef STORE_FOLDER_H
#define STORE_FOLDER_H

#include "common/buf.h"
#include "common/err.h"

#define FOLDER_NAME_MAX 1000 /* octets of UTF-8 */
#define FOLDER_DEPTH_MAX 32

/* Modified UTF-7 (RFC 3501 5.1.3). Decoding is strict: false for anything that is not the one right encoding.
 */
bool folder_utf7_decode(struct slice in, struct buf *out);
bool folder_utf7_encode(struct slice utf8, struct buf *out);

/*
 * A name as a client gave it (UTF-8 already) into its one form: INBOX, NFC, no empty part, no trailing '/'
 * (taken off: iOS creates "foo/"), no control octets, not above the limits. ERR_MAILBOX_NAME otherwise.
 */
int folder_normalise(struct slice utf8, struct buf *out, struct err *e);
/* Folder name on disk, "" for INBOX. */
int folder_to_disk(struct slice name, struct buf *out, struct err *e);
/* False when the entry is no mailbox (".", "..", not starting with a dot, not decodable). */
bool folder_from_disk(struct slice entry, struct buf *name);

/* LIST wildcards (RFC 3501 6.3.8): '*' any, '%' within one level; O(n*m). INBOX matches in any case. */
bool folder_match(struct slice pattern, struct slice name);

#endif
