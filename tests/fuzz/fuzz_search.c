/*
 * SEARCH arguments up to the first NUL, a message behind it: a program only ever goes forward, says the same
 * twice, and with NOT around it the opposite.
 */
#include <stdint.h>
#include <string.h>

#include "common/mem.h"
#include "imapd/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool give_text(void *ctx, struct slice *text)
{
    *text = *(const struct slice *)ctx;
    return true;
}

static bool give_size(void *ctx, uint64_t *octets)
{
    *octets = ((const struct slice *)ctx)->n;
    return true;
}

static uint32_t keyword(void *ctx, struct slice name)
{
    (void)ctx;
    return name.n % 2 ? 1u << 8 : 0;
}

static bool parse(struct slice command, struct arena *arena, struct search_program *program)
{
    struct imap_parse p;

    imap_parse_init(&p, command, arena);
    if (!search_parse(&p, program)) {
        INVARIANT(p.error);
        return false;
    }
    INVARIANT(program->n > 0 && program->n <= SEARCH_KEYS_MAX);
    for (uint32_t i = 0; i < program->n; i++) {
        const struct search_step *s = &program->steps[i];

        INVARIANT(s->yes > i && (s->yes < program->n || s->yes >= SEARCH_MISS));
        INVARIANT(s->no > i && (s->no < program->n || s->no >= SEARCH_MISS));
    }
    search_bind(program, 9, 90, keyword, NULL);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t n = nul ? (size_t)(nul - data) : size;
    struct slice command = slice_of(data, n), text = slice_from(slice_of(data, size), n + (nul != NULL));
    struct search_program program, opposite;
    struct search_message m = {.seq = 3,
        .uid = 30,
        .flags = 0x105,
        .recent = true,
        .received = 1769900000,
        .size = give_size,
        .head = give_text,
        .text = give_text,
        .ctx = &text};
    struct buf wrapped = BUF_INIT(BUF_OWN);
    struct search_work work;
    struct arena arena;

    arena_init(&arena, (size_t)8 << 20);
    search_work_init(&work);
    if (parse(command, &arena, &program)) {
        enum search_result result = search_match(&program, &m, &work);

        INVARIANT(result != SEARCH_UNREADABLE);
        INVARIANT(search_match(&program, &m, &work) == result);
        buf_add_str(&wrapped, "NOT (");
        buf_add(&wrapped, command);
        buf_add_char(&wrapped, ')');
        if (parse(buf_slice(&wrapped), &arena, &opposite))
            INVARIANT(search_match(&opposite, &m, &work) != result);
    }
    search_work_free(&work);
    buf_free(&wrapped);
    arena_free(&arena);
    return 0;
}
