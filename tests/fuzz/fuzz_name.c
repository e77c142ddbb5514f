/* Maildir names: whatever the name, what we write for it is read back as it was meant and stays below 256
 * octets. */
#include <stdint.h>
#include <stdlib.h>

#include "store/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct buf out = BUF_INIT(4096);
    struct name n, again;

    if (name_parse(text, 5, &n)) {
        if (name_write(&out, n.base, n.size, n.size_crlf, n.saved, 77, 5, n.flags)) {
            if (out.n > NAME_LEN_MAX || !name_parse(buf_slice(&out), 5, &again))
                abort();
            if (again.size != n.size || again.size_crlf != n.size_crlf || again.saved != n.saved ||
                again.flags != n.flags || again.uid != 77 || !slice_eq(again.unique, n.unique))
                abort();
        }
        name_origin(n.unique);
    }
    buf_free(&out);
    return 0;
}
