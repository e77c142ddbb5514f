/* store_box: a throw-away pair of trees and a spool for the tests of store/. */
#ifndef TESTS_STORE_BOX_H
#define TESTS_STORE_BOX_H

#include "store/account.h"

#define BOX_PATH "example.org/anna"

struct box {
    char dir[64];
    int root, mail, state, spool;
};

/* Folders for the trees and the account BOX_PATH in them. */
void box_make(struct box *b);
void box_remove(struct box *b);
/* Another account object on the same folders, as another process would have it. */
struct account *box_open(struct box *b);
/* A file with this text; returns nothing because it fails the test itself. path is relative to the box. */
void box_write(struct box *b, const char *path, const char *text);
bool box_has(struct box *b, const char *path);
void box_rename(struct box *b, const char *from, const char *to);
void box_unlink(struct box *b, const char *path);
/* Entries of a folder that do not begin with a dot; the first one's name goes to `first` (256) if there is
 * any. */
size_t box_count(struct box *b, const char *path, char *first);
/* rm -r of what is in state/, and the account's folder made anew. */
void box_lose_state(struct box *b);
/* Delivers a text to BOX_PATH as deliver does. */
void box_deliver(struct box *b, const char *text);

#endif
