#include "auth/directory_name.h"

#include <string.h>

#include "auth/directory_table.h"
#include "common/ascii.h"
#include "common/utf8.h"

#define NAME_MAX_OCTETS (sizeof((struct directory_account *)0)->address - 1)

void name_free(struct name *n)
{
    buf_free(&n->text);
}

static bool name_split(struct name *n)
{
    n->address = buf_slice(&n->text);
    return table_split(n->address, &n->domain, &n->local);
}

bool name_of_address(const struct address *a, struct name *n)
{
    n->text = BUF_INIT(NAME_MAX_OCTETS);
    if (a->is_null || !address_normalise(a, &n->text))
        return false;
    if (a->domain.n)
        return name_split(n);
    n->address = n->local = buf_slice(&n->text);
    n->domain = SLICE("");
    return true;
}

bool name_of_domain(struct slice domain, struct name *n)
{
    struct address a = {.local = SLICE("x"), .domain = domain};

    n->text = BUF_INIT(NAME_MAX_OCTETS);
    if (domain.n && domain.p[domain.n - 1] == '.')
        a.domain.n--;
    if (a.domain.n > ADDRESS_DOMAIN_MAX || !address_is_domain(a.domain) || !address_normalise(&a, &n->text))
        return false;
    buf_drop(&n->text, 2); /* "x@" */
    n->address = n->domain = buf_slice(&n->text);
    n->local = SLICE("");
    return true;
}

static bool name_of_catch_all(struct slice domain, struct name *n)
{
    struct buf whole = BUF_INIT(NAME_MAX_OCTETS);

    if (!name_of_domain(domain, n))
        return false;
    buf_add_char(&whole, '@');
    buf_add(&whole, n->domain);
    buf_free(&n->text);
    n->text = whole;
    return name_split(n);
}

bool name_of(struct slice s, bool catch_all, struct name *n)
{
    struct arena arena;
    struct address a;
    bool good;

    n->text = BUF_INIT(0);
    if (catch_all && s.n && s.p[0] == '@')
        return name_of_catch_all(slice_from(s, 1), n);
    arena_init(&arena, 4096);
    good = address_parse(s, &arena, &a) == ADDRESS_OK && name_of_address(&a, n);
    arena_free(&arena);
    return good;
}

bool name_is_allowed(struct slice local, bool plus)
{
    if (local.n == 0 || local.p[0] == '-' || local.p[0] == '.')
        return false;
    while (local.n) {
        char c = local.p[0];
        size_t width = utf8_printable(local);

        if (width == 0 || (width == 1 && !ascii_is_alnum(c) && !strchr(plus ? "._-=&'+" : "._-=&'", c)))
            return false;
        local = slice_from(local, width);
    }
    return true;
}
