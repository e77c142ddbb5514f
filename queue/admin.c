#include "queue/admin.h"

#include <errno.h>
#include <stdlib.h>

#include "common/mem.h"
#include "queue/admin_call.h"

#define CHOICE                                                                                               \
    {"ids", CALL_LIST, false}, {"from", CALL_TEXT, false}, {"to", CALL_TEXT, false},                         \
        {"domain", CALL_TEXT, false}, {"all", CALL_FLAG, false}, {"after", CALL_TEXT, false},                \
    {                                                                                                        \
        "limit", CALL_SIZE, false                                                                            \
    }

/* clang-format off */
const struct call_verb queue_verbs[] = {
    {"queue list", {CHOICE}, queue_list},
    {"queue show", {{"id", CALL_TEXT, true}}, queue_show},
    {"queue why", {CHOICE, {"language", CALL_TEXT, false}}, queue_why},
    {"queue retry", {CHOICE}, queue_retry},
    {"queue hold", {CHOICE}, queue_hold},
    {"queue release", {CHOICE}, queue_release},
    {"queue drop", {CHOICE}, queue_drop},
    {"queue bounce", {CHOICE}, queue_bounce},
    {"queue suppress list", {{"after", CALL_TEXT, false}}, queue_suppress_list},
    {"queue suppress add", {{"address", CALL_TEXT, true}}, queue_suppress_add},
    {"queue suppress remove", {{"address", CALL_TEXT, true}}, queue_suppress_remove},
    {NULL, {{0}}, NULL},
};
/* clang-format on */

enum err_code queue_admin_handle(struct queue_door *door, struct slice request,
    void (*item)(void *ctx, struct slice json), void *ctx, struct err *e)
{
    struct err unused = {0};
    struct call c = {.door = door, .item = item, .ctx = ctx, .e = e ? e : &unused};
    const struct call_verb *verb = call_begin(&c, queue_verbs, request);
    enum err_code code = c.e->code;

    /* reading shows what was committed: what queued noted a moment ago must not be written over */
    if (verb)
        code = call_result(&c, state_commit(door->state, c.e));
    if (verb && code == ERR_OK)
        code = verb->run(&c);
    call_finish(&c);
    return code;
}

int queue_door_open(struct queue_door *door, const char *folder, struct err *e)
{
    char *state = mem_printf("%s/state", folder);
    size_t rebuilt;

    door->state = NULL;
    door->suppress = NULL;
    door->spool = spool_open(folder, e);
    if (door->spool)
        door->state = state_open(state, door->spool, &rebuilt, e);
    if (door->state)
        door->suppress = suppress_open(folder, e);
    free(state);
    if (door->suppress)
        return 0;
    queue_door_close(door);
    return -1;
}

void queue_door_close(struct queue_door *door)
{
    suppress_close(door->suppress);
    state_close(door->state);
    spool_close(door->spool);
    door->suppress = NULL;
    door->state = NULL;
    door->spool = NULL;
}
