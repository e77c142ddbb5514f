/* postamt status: what runs, on one screen. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/link.h"
#include "admin/output.h"

struct seen {
    struct cli *cli;
    json_t *status;
};

static void keep(void *ctx, struct slice json)
{
    struct seen *s = ctx;

    if (s->cli->json) { /* as it came */
        fwrite(json.p, 1, json.n, stdout);
        putchar('\n');
        return;
    }
    json_decref(s->status);
    s->status = json_loadb(json.p ? json.p : "", json.n, 0, NULL);
}

static void show_head(const json_t *status)
{
    struct buf version = BUF_INIT(200), up = BUF_INIT(100);
    const char *text = json_string_value(json_object_get(status, "version"));
    time_t started = (time_t)json_integer_value(json_object_get(status, "started"));
    struct tm tm;
    char since[40] = "?";

    output_clean(&version, slice_str(text ? text : "?"), false);
    output_duration(&up, time(NULL) - started);
    if (localtime_r(&started, &tm))
        strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S", &tm);
    printf("postamt %s runs since %s (%s), process %lld\n\n", buf_str(&version), since, buf_str(&up),
        (long long)json_integer_value(json_object_get(status, "pid")));
    buf_free(&version);
    buf_free(&up);
}

/* What a role says of itself, in one line: "key value, key value"; what the sandbox lacks comes as a text. */
static void add_detail(struct buf *out, const json_t *detail)
{
    const char *key, *comma = "";
    json_t *v;

    if (json_is_string(detail)) {
        buf_add_str(out, json_string_value(detail));
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)detail, key, v)
    {
        if (json_is_string(v) && json_string_length(v) == 0)
            continue;
        buf_add_str(out, comma);
        buf_add_str(out, key);
        buf_add_char(out, ' ');
        if (json_is_string(v))
            buf_add(out, slice_of(json_string_value(v), json_string_length(v)));
        else if (json_is_integer(v))
            buf_printf(out, "%lld", (long long)json_integer_value(v));
        else if (json_is_boolean(v))
            buf_add_str(out, json_is_true(v) ? "yes" : "no");
        else
            buf_add_str(out, "..");
        comma = ", ";
    }
}

static void show_listeners(const struct cli *c, const json_t *list)
{
    static const struct column columns[] = {{"SERVICE", "service", CELL_TEXT},
        {"ADDRESS", "address", CELL_TEXT}, {"PORT", "port", CELL_NUMBER}, {"TLS", "tls", CELL_TEXT}};
    struct table t;
    size_t i;
    json_t *one;

    table_init(&t, c, columns, 4);
    json_array_foreach((json_t *)(uintptr_t)list, i, one) table_add(&t, one);
    table_end(&t);
}

/* Returns how many are not ready. */
static size_t show_roles(const struct cli *c, const json_t *list)
{
    static const struct column columns[] = {{"ROLE", "role", CELL_TEXT}, {"STATE", "state", CELL_STATE},
        {"PROCESS", "pid", CELL_NUMBER}, {"RESTARTS", "restarts", CELL_NUMBER}, {"UP", "up", CELL_TEXT},
        {"DETAIL", "said", CELL_TEXT}};
    size_t i, waiting = 0;
    struct table t;
    json_t *one;

    table_init(&t, c, columns, 6);
    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        struct buf up = BUF_INIT(100), said = BUF_INIT(4096);
        bool ready = json_is_true(json_object_get(one, "ready"));

        waiting += ready ? 0 : 1;
        output_duration(&up, json_integer_value(json_object_get(one, "seconds")));
        add_detail(&said, json_object_get(one, "detail"));
        json_object_set_new(one, "state", json_string(ready ? "ready" : "starting"));
        json_object_set_new(one, "up", json_string(buf_str(&up)));
        json_object_set_new(one, "said", json_string(buf_str(&said)));
        table_add(&t, one);
        buf_free(&up);
        buf_free(&said);
    }
    table_end(&t);
    return waiting;
}

/* queued's own figures as a sentence; nothing while it has not said any. */
static void show_queue(const json_t *roles)
{
    json_t *one;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)roles, i, one)
    {
        const char *role = json_string_value(json_object_get(one, "role"));
        json_int_t n[5];

        if (role && strcmp(role, "queued") == 0 &&
            json_unpack(json_object_get(one, "detail"), "{s:I,s:I,s:I,s:I,s:I}", "messages", &n[0],
                "recipients", &n[1], "active", &n[2], "deferred", &n[3], "held", &n[4]) == 0)
            printf("queue: %lld %s to %lld %s; %lld active, %lld deferred, %lld held\n\n", (long long)n[0],
                n[0] == 1 ? "message" : "messages", (long long)n[1], n[1] == 1 ? "recipient" : "recipients",
                (long long)n[2], (long long)n[3], (long long)n[4]);
    }
}

static void pass_over(void *ctx, struct slice json)
{
    (void)ctx, (void)json;
}

/* postamtd answers at once with what its roles last said, and asks them anew: the second answer is fresh. */
static enum err_code ask(struct cli *c, struct seen *seen)
{
    const struct timespec moment = {.tv_nsec = 30 * 1000 * 1000};
    enum err_code code = link_master(c, link_request(c), pass_over, NULL);

    if (code != ERR_OK)
        return code;
    nanosleep(&moment, NULL);
    return link_master(c, link_request(c), keep, seen);
}

enum err_code status_show(struct cli *c)
{
    struct seen seen = {.cli = c};
    enum err_code code = ask(c, &seen);
    size_t waiting;

    if (code != ERR_OK || c->json)
        goto end;
    if (!json_is_object(seen.status)) {
        code = fault_set(&c->fault, ERR_INTERNAL, NULL, "the server's answer could not be understood");
        goto end;
    }
    if (!c->plain)
        show_head(seen.status);
    if (!c->plain)
        show_queue(json_object_get(seen.status, "roles"));
    show_listeners(c, json_object_get(seen.status, "listeners"));
    putchar('\n');
    waiting = show_roles(c, json_object_get(seen.status, "roles"));
    if (waiting)
        output_say(c, "%zu %s not ready; if that lasts, look into the log", waiting,
            waiting == 1 ? "process is" : "processes are");
end:
    json_decref(seen.status);
    return code;
}
