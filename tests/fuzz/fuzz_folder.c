/* Mailbox names: no name leaves the Maildir or meets cur, new, tmp or our files; disk and memory undo each
 * other. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/folder.h"

static void check_disk(struct slice name)
{
    struct buf disk = BUF_INIT(4096), back = BUF_INIT(4096);

    if (folder_to_disk(name, &disk, NULL) == 0 && disk.n) {
        /* one component that begins with a dot and is neither "." nor ".." */
        if (disk.n < 2 || disk.n > 255 || disk.p[0] != '.' || disk.p[1] == '.' ||
            memchr(disk.p, '/', disk.n) || memchr(disk.p, '\0', disk.n))
            abort();
        if (!folder_from_disk(buf_slice(&disk), &back) || !slice_eq(buf_slice(&back), name))
            abort();
    }
    buf_free(&disk);
    buf_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size), pattern;
    struct buf a = BUF_INIT(65536), b = BUF_INIT(65536);

    if (folder_normalise(text, &a, NULL) == 0) {
        if (folder_normalise(buf_slice(&a), &b, NULL) < 0 || !slice_eq(buf_slice(&a), buf_slice(&b)))
            abort();
        check_disk(buf_slice(&a));
    }
    buf_clear(&a);
    if (folder_from_disk(text, &a))
        check_disk(buf_slice(&a));
    buf_clear(&a);
    buf_clear(&b);
    if (folder_utf7_decode(text, &a) &&
        (!folder_utf7_encode(buf_slice(&a), &b) || !slice_eq(buf_slice(&b), text)))
        abort();
    slice_cut(&text, '\n', &pattern);
    folder_match(pattern, text);
    buf_free(&a);
    buf_free(&b);
    return 0;
}
