/* Lists of other servers: no UID twice, none at or above the next one, none under two names; every slice lies
 * in the input. */
#include <stdint.h>
#include <stdlib.h>

#include "store/foreign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct foreign *f)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct foreign_entry *entry = &f->entries[i];

        if (foreign_find(f, entry->unique) != entry || entry->uidl.n > FOREIGN_UIDL_MAX)
            abort();
        if (entry->uid && (f->uidvalidity == 0 || entry->uid >= f->uidnext))
            abort();
        for (size_t j = 0; j < i && i < 200; j++)
            if (entry->uid && f->entries[j].uid == entry->uid)
                abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size), rest = text, line, name;
    struct foreign f = FOREIGN_INIT;
    struct foreign_keywords k;
    struct buf out = BUF_INIT(300);
    size_t octets = 0;

    foreign_parse(text, &f);
    check(&f);
    foreign_parse_pop3(text, &f);
    check(&f);
    foreign_keywords_begin(&k, text);
    for (int n = 0; n < 100 && foreign_keywords_next(&k);)
        while (n++ < 100 && foreign_keyword(&k, &name))
            octets += name.n;
    while (slice_cut(&rest, '\n', &line))
        if (foreign_subscription(line, size & 1, &out) && out.n > line.n)
            abort();
    buf_free(&out);
    foreign_free(&f);
    return octets == SIZE_MAX;
}
