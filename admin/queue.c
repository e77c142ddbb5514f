/* postamt queue: mail on its way to other servers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/ask.h"
#include "admin/link.h"
#include "admin/output.h"
#include "common/hmap.h"
#include "common/mem.h"

/* ---- requests ---- */

static void copy_flag(const struct cli *c, json_t *request, enum flag f)
{
    if (cli_flag(c, f))
        INVARIANT(json_object_set_new(request, flag_rows[f].name, json_string(cli_flag(c, f))) == 0);
}

static bool has_choice(const struct cli *c)
{
    return c->args.nobjects || cli_flag(c, FLAG_FROM) || cli_flag(c, FLAG_TO) || cli_flag(c, FLAG_DOMAIN) ||
           cli_flag(c, FLAG_ALL);
}

/* Ids and flags; an id that is written twice is meant once. */
static json_t *request_for(const struct cli *c)
{
    json_t *request = link_request(c), *ids = json_array();

    for (size_t i = 0; i < c->args.nobjects; i++) {
        size_t k = 0;

        while (k < i && strcmp(c->args.object[k], c->args.object[i]) != 0)
            k++;
        if (k == i)
            json_array_append_new(ids, json_string(c->args.object[i]));
    }
    if (c->args.nobjects)
        json_object_set(request, "ids", ids);
    json_decref(ids);
    copy_flag(c, request, FLAG_FROM);
    copy_flag(c, request, FLAG_TO);
    copy_flag(c, request, FLAG_DOMAIN);
    copy_flag(c, request, FLAG_LANGUAGE);
    if (cli_flag(c, FLAG_ALL))
        json_object_set_new(request, "all", json_true());
    return request;
}

/* ---- items ---- */

static const char *text_of(const json_t *item, const char *key)
{
    const char *z = json_string_value(json_object_get(item, key));

    return z ? z : "";
}

static long long number_of(const json_t *item, const char *key)
{
    return json_integer_value(json_object_get(item, key));
}

/* An item as an object the caller lets go. NULL: it was told already, as JSON or as something missing. */
static json_t *take_item(struct cli *c, struct slice json)
{
    json_t *item = json_loadb(json.p ? json.p : "", json.n, 0, NULL);
    const json_t *error = json_object_get(item, "error");

    if (error)
        c->status = 2;
    if (item && c->json)
        output_json(item);
    else if (error)
        output_say(c, "%s: %s", text_of(item, "id"), text_of(error, "text"));
    if (!c->json && !error)
        return item;
    json_decref(item);
    return NULL;
}

/* "in 5 min", "now", "-" from an ISO time of the server. */
static void add_until(struct buf *out, const json_t *time_text)
{
    const char *z = json_string_value(time_text);
    struct tm tm = {0};
    int64_t seconds;

    if (!z || !strptime(z, "%Y-%m-%dT%H:%M:%SZ", &tm)) {
        buf_add_char(out, '-');
        return;
    }
    seconds = (int64_t)timegm(&tm) - (int64_t)time(NULL);
    if (seconds <= 0) {
        buf_add_str(out, "now");
        return;
    }
    buf_add_str(out, "in ");
    output_duration(out, seconds);
}

static void set_text(json_t *item, const char *key, struct buf *text)
{
    json_object_set_new(item, key, json_string(buf_str(text)));
    buf_clear(text);
}

/* ---- list ---- */

struct listing {
    struct cli *cli;
    struct table table;
};

static void list_item(void *ctx, struct slice json)
{
    struct listing *l = ctx;
    struct buf text = BUF_INIT(BUF_OWN);
    json_t *item = take_item(l->cli, json);

    if (!item)
        return;
    if (!l->cli->plain) {
        output_duration(&text, number_of(item, "age"));
        set_text(item, "age_text", &text);
        output_size(&text, (uint64_t)number_of(item, "size"));
        set_text(item, "size_text", &text);
        add_until(&text, json_object_get(item, "next_try"));
        set_text(item, "next_text", &text);
        buf_printf(&text, "%lld/%lld", number_of(item, "left"), number_of(item, "recipients"));
        set_text(item, "left_text", &text);
        if (*text_of(item, "from") == '\0')
            json_object_set_new(item, "from", json_string("<>"));
    }
    table_add(&l->table, item);
    buf_free(&text);
    json_decref(item);
}

enum err_code cmd_queue_list(struct cli *c)
{
    static const struct column shown[] = {{"ID", "id", CELL_TEXT}, {"AGE", "age_text", CELL_TEXT},
        {"SIZE", "size_text", CELL_NUMBER}, {"STATE", "state", CELL_STATE},
        {"NEXT TRY", "next_text", CELL_TEXT}, {"LEFT", "left_text", CELL_NUMBER}, {"FROM", "from", CELL_TEXT},
        {"REASON", "reason", CELL_TEXT}};
    static const struct column plain[] = {{"ID", "id", CELL_TEXT}, {"CREATED", "created", CELL_TEXT},
        {"SIZE", "size", CELL_NUMBER}, {"STATE", "state", CELL_STATE}, {"NEXT TRY", "next_try", CELL_TEXT},
        {"LEFT", "left", CELL_NUMBER}, {"RECIPIENTS", "recipients", CELL_NUMBER}, {"FROM", "from", CELL_TEXT},
        {"HOST", "host", CELL_TEXT}, {"REASON", "reason", CELL_TEXT}};
    struct listing l = {.cli = c};
    enum err_code code;

    table_init(&l.table, c, c->plain ? plain : shown, c->plain ? 10 : 8);
    code = link_queue(c, request_for(c), list_item, &l);
    if (code == ERR_OK && l.table.nrows == 0)
        output_say(c, has_choice(c) ? "No message fits." : "The queue is empty.");
    table_end(&l.table);
    return code;
}

/* ---- show ---- */

static void show_item(void *ctx, struct slice json)
{
    struct listing *l = ctx;
    json_t *item = take_item(l->cli, json);

    if (json_object_get(item, "recipient"))
        table_add(&l->table, item);
    else if (item)
        output_object(l->cli, item);
    json_decref(item);
}

enum err_code cmd_queue_show(struct cli *c)
{
    static const struct column columns[] = {{"RECIPIENT", "recipient", CELL_TEXT},
        {"STATE", "state", CELL_STATE}, {"ATTEMPTS", "attempts", CELL_NUMBER},
        {"LAST TRY", "last_try", CELL_TEXT}, {"NEXT TRY", "next_try", CELL_TEXT}, {"HOST", "host", CELL_TEXT},
        {"REPLY", "reply", CELL_TEXT}};
    struct listing l = {.cli = c};
    json_t *request = link_request(c);
    enum err_code code;

    json_object_set_new(request, "id", json_string(c->args.object[0]));
    table_init(&l.table, c, columns, 7);
    code = link_queue(c, request, show_item, &l);
    if (code == ERR_OK && !c->json)
        putchar('\n');
    table_end(&l.table);
    return code;
}

/* ---- why ---- */

/* What one server means by its refusals, of however many messages. */
struct group {
    json_t *example;
    long long messages, recipients;
};

struct reasons {
    struct cli *cli;
    struct hmap by_reason; /* host, NUL, name of the meaning */
    struct group **groups;
    size_t n;
};

static void why_item(void *ctx, struct slice json)
{
    struct reasons *w = ctx;
    json_t *item = take_item(w->cli, json);
    struct buf key = BUF_INIT(BUF_OWN);
    struct group *g;

    if (!item)
        return;
    buf_add_str(&key, text_of(item, "host"));
    buf_add_char(&key, '\0');
    buf_add_str(&key, text_of(item, "meaning"));
    g = hmap_get(&w->by_reason, buf_slice(&key));
    if (!g) {
        g = mem_zalloc(1, sizeof *g);
        g->example = json_incref(item);
        hmap_put(&w->by_reason, buf_slice(&key), g);
        w->groups = mem_realloc(w->groups, w->n + 1, sizeof(struct group *));
        w->groups[w->n++] = g;
    }
    g->messages++;
    g->recipients += number_of(item, "recipients");
    buf_free(&key);
    json_decref(item);
}

static void say_line(const struct cli *c, const char *before, const char *text)
{
    struct buf clean = BUF_INIT(BUF_OWN);

    if (c->json || !*text)
        return;
    output_clean(&clean, slice_str(text), false);
    printf("%s%s\n", before, buf_str(&clean));
    buf_free(&clean);
}

static void show_group(const struct cli *c, const struct group *g)
{
    const char *host = text_of(g->example, "host"), *from = text_of(g->example, "from");
    const char *first = json_string_value(json_array_get(json_object_get(g->example, "first"), 0));
    struct buf next = BUF_INIT(BUF_OWN);
    char *head;

    add_until(&next, json_object_get(g->example, "next_try"));
    head = mem_printf("%lld %s of %lld %s, such as %s (%s from %s, %lld %s, next %s)", g->recipients,
        g->recipients == 1 ? "recipient" : "recipients", g->messages,
        g->messages == 1 ? "message" : "messages", first ? first : "?", text_of(g->example, "id"),
        *from ? from : "<>", number_of(g->example, "attempts"),
        number_of(g->example, "attempts") == 1 ? "attempt" : "attempts", buf_str(&next));
    say_line(c, "", head);
    free(head);
    head = mem_printf("%s%s", *host ? host : "this server", *host ? " said: " : ": ");
    if (*text_of(g->example, "reply")) {
        char *said = mem_printf("%s%s", head, text_of(g->example, "reply"));

        say_line(c, "  ", said);
        free(said);
    }
    free(head);
    say_line(c, "  ", text_of(g->example, "cause"));
    say_line(c, "  -> ", text_of(g->example, "fix"));
    buf_free(&next);
}

enum err_code cmd_queue_why(struct cli *c)
{
    struct reasons w = {.cli = c};
    enum err_code code = link_queue(c, request_for(c), why_item, &w);

    if (code == ERR_OK && w.n == 0)
        output_say(c, has_choice(c) ? "No message that fits waits for anything." : "The queue is empty.");
    for (size_t i = 0; i < w.n; i++) {
        if (i)
            putchar('\n');
        show_group(c, w.groups[i]);
        json_decref(w.groups[i]->example);
        free(w.groups[i]);
    }
    free(w.groups);
    hmap_free(&w.by_reason);
    return code;
}

/* ---- changes ---- */

struct changes {
    struct cli *cli;
    struct table table; /* what would be changed, with --dry-run */
    bool shows;
    size_t n;
};

static void change_item(void *ctx, struct slice json)
{
    struct changes *ch = ctx;
    json_t *item = take_item(ch->cli, json);

    if (item && ch->shows)
        table_add(&ch->table, item);
    ch->n += item != NULL;
    json_decref(item);
}

static const char *past_of(const char *verb)
{
    static const char *const words[][2] = {{"bounce", "given up"}, {"drop", "dropped"}, {"hold", "held"},
        {"release", "released"}, {"retry", "to be tried now"}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i][0], verb) == 0)
            return words[i][1];
    return verb;
}

static void say_done(const struct cli *c, size_t n)
{
    const char *past = past_of(c->args.verb->name);

    if (n == 0)
        output_say(c, "There is nothing to do: no message fits, or it is held, or it is so already.");
    else if (cli_flag(c, FLAG_DRY_RUN))
        output_say(c, "%zu %s would be %s; nothing was changed", n, n == 1 ? "message" : "messages", past);
    else
        output_say(c, "%zu %s %s", n, n == 1 ? "message is" : "messages are", past);
}

enum err_code cmd_queue_change(struct cli *c)
{
    static const struct column columns[] = {
        {"ID", "id", CELL_TEXT}, {"RECIPIENTS", "recipients", CELL_NUMBER}, {"FROM", "from", CELL_TEXT}};
    struct changes ch = {.cli = c, .shows = cli_flag(c, FLAG_DRY_RUN) != NULL};
    enum err_code code;

    table_init(&ch.table, c, columns, 3);
    code = link_queue(c, request_for(c), change_item, &ch);
    table_end(&ch.table);
    if (code == ERR_OK)
        say_done(c, ch.n);
    return code;
}

static void count_item(void *ctx, struct slice json)
{
    if (slice_find(json, SLICE("\"error\":{")) < 0)
        ++*(size_t *)ctx;
}

/* What is gone is gone: it is counted first, then asked for. */
enum err_code cmd_queue_drop(struct cli *c)
{
    json_t *request;
    char *question;
    enum err_code code;
    size_t n = 0;

    if (cli_flag(c, FLAG_YES) || cli_flag(c, FLAG_DRY_RUN))
        return cmd_queue_change(c);
    request = request_for(c);
    json_object_set_new(request, "dry_run", json_true());
    code = link_queue(c, request, count_item, &n);
    if (code != ERR_OK)
        return code;
    if (n == 0)
        return cmd_queue_change(c);
    question =
        mem_printf("Remove %zu %s for good, without telling anybody?", n, n == 1 ? "message" : "messages");
    code = ask_consent(c, question);
    free(question);
    return code == ERR_OK ? cmd_queue_change(c) : code;
}

/* ---- suppress ---- */

static void suppress_item(void *ctx, struct slice json)
{
    struct listing *l = ctx;
    json_t *item = take_item(l->cli, json);

    if (!item)
        return;
    if (!l->cli->plain && json_is_null(json_object_get(item, "until")))
        json_object_set_new(item, "until", json_string("for ever"));
    table_add(&l->table, item);
    json_decref(item);
}

static json_t *suppress_request(const struct cli *c, const char *action)
{
    json_t *request = link_request(c);
    char *verb = mem_printf("queue suppress %s", action);

    json_object_set_new(request, "verb", json_string(verb));
    free(verb);
    return request;
}

static enum err_code suppress_list(struct cli *c)
{
    static const struct column columns[] = {{"ADDRESS", "address", CELL_TEXT}, {"SINCE", "since", CELL_TEXT},
        {"UNTIL", "until", CELL_TEXT}, {"HOST", "host", CELL_TEXT}, {"REPLY", "reply", CELL_TEXT}};
    struct listing l = {.cli = c};
    enum err_code code;

    table_init(&l.table, c, columns, 5);
    code = link_queue(c, suppress_request(c, "list"), suppress_item, &l);
    if (code == ERR_OK && l.table.nrows == 0)
        output_say(c, "No address is suppressed.");
    table_end(&l.table);
    return code;
}

static void ignore_item(void *ctx, struct slice json)
{
    json_decref(take_item(ctx, json));
}

static enum err_code suppress_change(struct cli *c, const char *action, const char *done)
{
    json_t *request = suppress_request(c, action);
    enum err_code code;

    json_object_set_new(request, "address", json_string(c->args.object[1]));
    code = link_queue(c, request, ignore_item, c);
    if (code == ERR_OK)
        output_say(c, cli_flag(c, FLAG_DRY_RUN) ? "%s would be %s; nothing was changed" : "%s is %s",
            c->args.object[1], done);
    return code;
}

enum err_code cmd_queue_suppress(struct cli *c)
{
    static const char *const actions[] = {"list", "add", "remove"};
    const char *action = c->args.nobjects ? c->args.object[0] : "list", *meant;
    char fix[60] = "write: postamt queue suppress [list | add | remove]";

    if (strcmp(action, "list") == 0 && c->args.nobjects < 2)
        return suppress_list(c);
    if (strcmp(action, "add") == 0 && c->args.nobjects == 2)
        return suppress_change(c, "add", "suppressed");
    if (strcmp(action, "remove") == 0 && c->args.nobjects == 2)
        return suppress_change(c, "remove", "no longer suppressed");
    for (size_t i = 0; i < 3; i++)
        if (strcmp(action, actions[i]) == 0)
            return fault_set(&c->fault, ERR_USAGE, i ? "name one address" : "leave the address out",
                "suppress %s takes %s address", action, i ? "an" : "no");
    meant = args_nearest(action, actions, 3);
    if (meant)
        snprintf(fix, sizeof fix, "did you mean \"%s\"?", meant);
    return fault_set(&c->fault, ERR_USAGE, fix, "suppress does not know \"%.40s\"", action);
}
