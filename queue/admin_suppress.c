/* suppress: the addresses that refused mail for good, seen and changed by the administrator. */
#include "mail/address.h"
#include "queue/admin_call.h"

#define ARENA_ADDRESS ((size_t)65536)
#define TEXT_MAX 4096

static enum err_code take_address(struct call *c, struct buf *normal)
{
    struct slice text = call_text(c, "address");
    enum err_code code = ERR_OK;
    struct address a;
    struct arena arena;

    arena_init(&arena, ARENA_ADDRESS);
    if (address_parse(text, &arena, &a) != ADDRESS_OK || !address_normalise(&a, normal))
        code = call_result(
            c, err_set(c->e, ERR_SYNTAX, "%.*s is no address", (int)(text.n < 80 ? text.n : 80), text.p));
    arena_free(&arena);
    return code;
}

static json_t *item_of(const struct suppress_entry *e)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "address", text_line(e->address, TEXT_MAX), "since",
        call_time(e->since), "until", e->until ? call_time(e->until) : json_null(), "host",
        text_line(e->host, TEXT_MAX), "reply", text_line(e->reply, TEXT_MAX));
}

struct list {
    struct call *c;
    struct slice after;
    bool begun, more;
    size_t n;
    char last[SUPPRESS_ADDRESS_MAX];
    size_t last_n;
};

static bool list_one(void *ctx, const struct suppress_entry *e)
{
    struct list *l = ctx;

    if (!l->begun) {
        l->begun = slice_eq(e->address, l->after);
        return true;
    }
    l->more = l->n == QUEUE_ADMIN_LOOK;
    if (l->more)
        return false;
    call_item(l->c, item_of(e));
    l->last_n = e->address.n;
    for (size_t i = 0; i < e->address.n; i++)
        l->last[i] = e->address.p[i];
    l->n++;
    return true;
}

enum err_code queue_suppress_list(struct call *c)
{
    struct list l = {.c = c, .after = call_text(c, "after"), .begun = !call_has(c, "after")};

    suppress_walk(queue_door(c)->suppress, queue_door(c)->now, list_one, &l);
    if (l.more)
        call_item(c, json_pack("{s:o}", "next", call_string(slice_of(l.last, l.last_n))));
    if (l.begun)
        return ERR_OK;
    return call_result(c, err_set(c->e, ERR_UNAVAILABLE, "the list changed meanwhile; ask again"));
}

enum err_code queue_suppress_add(struct call *c)
{
    struct queue_door *door = queue_door(c);
    struct buf normal = BUF_INIT(SUPPRESS_ADDRESS_MAX);
    struct suppress_entry e = {.since = door->now};
    enum err_code code = take_address(c, &normal);

    e.address = buf_slice(&normal);
    if (code == ERR_OK && !c->dry_run) {
        suppress_add(door->suppress, &e);
        code = call_result(c, suppress_save(door->suppress, door->now, c->e));
    }
    if (code == ERR_OK)
        call_item(c, item_of(&e));
    buf_free(&normal);
    return code;
}

enum err_code queue_suppress_remove(struct call *c)
{
    struct queue_door *door = queue_door(c);
    struct buf normal = BUF_INIT(SUPPRESS_ADDRESS_MAX);
    enum err_code code = take_address(c, &normal);

    if (code == ERR_OK && !suppress_find(door->suppress, buf_slice(&normal), door->now, NULL))
        code = call_result(c, err_set(c->e, ERR_NO_USER,
                                  "that address is not suppressed; see them with: postamt queue suppress"));
    if (code == ERR_OK && !c->dry_run) {
        suppress_remove(door->suppress, buf_slice(&normal));
        code = call_result(c, suppress_save(door->suppress, door->now, c->e));
    }
    if (code == ERR_OK)
        call_item(c, json_pack("{s:o}", "address", text_line(buf_slice(&normal), TEXT_MAX)));
    buf_free(&normal);
    return code;
}
