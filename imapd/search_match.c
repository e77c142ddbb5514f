/* A search program on one message. */
#include "imapd/search.h"

#include "store/name.h"

#define DAY 86400

void search_work_init(struct search_work *w)
{
    *w = (struct search_work){0};
    arena_init(&w->arena, MIME_PARTS_MAX * sizeof(struct mime_part) + 4096);
    arena_init(&w->scratch, (size_t)8 << 20);
    buf_init(&w->value, (size_t)4 << 20);
    buf_init(&w->folded, (size_t)32 << 20);
    buf_init(&w->raw, (size_t)4 << 20);
    buf_init(&w->utf8, (size_t)16 << 20);
}

void search_work_free(struct search_work *w)
{
    arena_free(&w->arena);
    arena_free(&w->scratch);
    buf_free(&w->value);
    buf_free(&w->folded);
    buf_free(&w->raw);
    buf_free(&w->utf8);
}

static int64_t day_of(int64_t seconds)
{
    int64_t day = seconds / DAY;

    return seconds % DAY < 0 ? day - 1 : day;
}

static bool get_text(const struct search_message *m, struct search_work *w)
{
    if (!w->has_text && m->text(m->ctx, &w->text))
        w->has_text = w->has_head = true;
    if (w->has_text)
        w->head = slice_sub(w->text, 0, header_size(w->text));
    return w->has_text;
}

static bool get_head(const struct search_message *m, struct search_work *w)
{
    if (!w->has_head && m->head(m->ctx, &w->head)) {
        w->has_head = true;
        w->head = slice_sub(w->head, 0, header_size(w->head));
    }
    return w->has_head;
}

static enum search_result of(bool hit)
{
    return hit ? SEARCH_MATCH : SEARCH_NO_MATCH;
}

static bool compare(enum search_kind kind, int64_t day, int64_t with)
{
    switch (kind) {
    case SEARCH_BEFORE:
    case SEARCH_SENTBEFORE:
        return day < with;
    case SEARCH_ON:
    case SEARCH_SENTON:
        return day == with;
    default:
        return day >= with;
    }
}

/* "disregarding time and timezone": the day as the sender wrote it. Without a date no SENT key holds. */
static bool sent(const struct search_key *key, struct slice head)
{
    struct header_field field;
    int64_t utc;
    int zone;

    return header_find(head, SLICE("Date"), &field) && header_date(field.value, &utc, &zone) &&
           compare(key->kind, day_of(utc + (int64_t)zone * 60), key->day);
}

static bool header(const struct search_key *key, struct search_work *w)
{
    struct slice rest = slice_sub(w->head, 0, HEADER_LOOK_MAX);
    struct header_field field;

    for (size_t n = 0; n < HEADER_FIELDS_MAX && header_next(&rest, &field); n++)
        if (field.name.n == key->name.n && slice_eq_nocase(field.name, key->name) &&
            (key->needle.n == 0 || search_field_has(w, &field, false, key->needle)))
            return true;
    return false;
}

static bool body(const struct search_key *key, struct search_work *w)
{
    if (!w->has_tree)
        w->has_tree = mime_parse(w->text, &w->arena, &w->tree);
    return w->has_tree && search_body_has(w, key->needle);
}

static enum search_result test(
    const struct search_key *key, const struct search_message *m, struct search_work *w)
{
    uint64_t size;
    int64_t received;

    switch (key->kind) {
    case SEARCH_EVERYTHING:
        return SEARCH_MATCH;
    case SEARCH_FLAG:
    case SEARCH_KEYWORD:
        return of((m->flags & key->mask) != 0);
    case SEARCH_RECENT:
        return of(m->recent);
    case SEARCH_NEW:
        return of(m->recent && !(m->flags & FLAG_SEEN));
    case SEARCH_SEQ:
        return of(imap_set_has(&key->set, m->seq));
    case SEARCH_UID:
        return of(imap_set_has(&key->set, m->uid));
    case SEARCH_BEFORE:
    case SEARCH_ON:
    case SEARCH_SINCE:
        received = m->received;
        if (received == 0 && m->date && !m->date(m->ctx, &received))
            return SEARCH_UNREADABLE;
        return of(compare(key->kind, day_of(received), key->day));
    case SEARCH_LARGER:
    case SEARCH_SMALLER:
        if (!m->size(m->ctx, &size))
            return SEARCH_UNREADABLE;
        return of(key->kind == SEARCH_LARGER ? size > key->size : size < key->size);
    case SEARCH_SENTBEFORE:
    case SEARCH_SENTON:
    case SEARCH_SENTSINCE:
        return get_head(m, w) ? of(sent(key, w->head)) : SEARCH_UNREADABLE;
    case SEARCH_HEADER:
        return get_head(m, w) ? of(header(key, w)) : SEARCH_UNREADABLE;
    case SEARCH_TEXT:
        if (!get_text(m, w))
            return SEARCH_UNREADABLE;
        return of(key->needle.n == 0 || search_header_has(w, w->head, key->needle) || body(key, w));
    case SEARCH_BODY:
        if (!get_text(m, w))
            return SEARCH_UNREADABLE;
        return of(key->needle.n == 0 || body(key, w));
    }
    return SEARCH_NO_MATCH;
}

enum search_result search_match(
    const struct search_program *p, const struct search_message *m, struct search_work *w)
{
    uint32_t at = 0;

    w->has_head = w->has_text = w->has_tree = false;
    arena_reset(&w->arena);
    while (at < p->n) {
        const struct search_step *step = &p->steps[at];
        enum search_result r = test(&step->key, m, w);

        if (r == SEARCH_UNREADABLE)
            return r;
        at = r == SEARCH_MATCH ? step->yes : step->no;
    }
    return of(at == SEARCH_HIT);
}
