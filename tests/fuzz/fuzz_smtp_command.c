/* Command lines of SMTP: what is read lies in the line, is made of what the grammar allows, and ends. */
#include <stddef.h>
#include <stdint.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "common/utf8.h"
#include "mail/address.h"
#include "smtpd/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct slice s, struct slice line)
{
    INVARIANT(s.n == 0 || (s.p >= line.p && s.p + s.n <= line.p + line.n));
}

static void params(struct slice rest, struct slice line)
{
    struct smtp_param p;
    struct buf text = BUF_INIT(1 << 20);
    size_t before = rest.n;
    unsigned bits;

    while (smtp_parse_param(&rest, &p) == SMTP_PARAM) {
        INVARIANT(rest.n < before);
        before = rest.n;
        inside(p.name, line);
        inside(p.value, line);
        INVARIANT(p.name.n > 0 && (p.has_value ? p.value.n > 0 : p.value.n == 0));
        smtp_parse_notify(p.value, &bits);
        buf_clear(&text);
        if (smtp_parse_orcpt(p.value, true, &text)) {
            INVARIANT(utf8_is_valid(buf_slice(&text)) && text.n <= p.value.n);
            for (size_t i = 0; i < text.n; i++)
                INVARIANT(!ascii_is_control(text.p[i]));
        }
        buf_clear(&text);
        if (smtp_parse_xtext(p.value, &text)) {
            INVARIANT(smtp_parse_xtext(p.value, NULL) && text.n <= p.value.n);
            for (size_t i = 0; i < text.n; i++)
                INVARIANT(!ascii_is_control(text.p[i]));
        } else {
            INVARIANT(!smtp_parse_xtext(p.value, NULL));
        }
    }
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice line = slice_of(data, size), rest;
    struct smtp_line words;
    struct address address;
    struct arena arena;
    uint64_t octets;
    bool last;

    if (!smtp_parse_line(line, &words))
        return 0;
    inside(words.verb, line);
    inside(words.args, line);
    INVARIANT(words.verb.n > 0);
    if (smtp_parse_chunk(words.args, &octets, &last) == SMTP_CHUNK)
        INVARIANT(ascii_is_digit(words.args.p[0]));
    arena_init(&arena, 65536);
    rest = words.args;
    if ((smtp_parse_keyword(&rest, SLICE("FROM:")) || smtp_parse_keyword(&rest, SLICE("TO:"))) &&
        address_parse_path(&rest, true, true, &arena, &address) == ADDRESS_OK)
        params(rest, line);
    params(words.args, line);
    arena_free(&arena);
    return 0;
}
