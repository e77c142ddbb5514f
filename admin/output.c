#include "admin/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uniwidth.h>

#include "common/mem.h"
#include "common/utf8.h"

#define BOLD "\033[1m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

void output_clean(struct buf *out, struct slice s, bool lines)
{
    while (s.n) {
        size_t n = utf8_printable(s);

        if (n == 0 && lines && *s.p == '\n')
            n = 1;
        if (n)
            buf_add(out, slice_sub(s, 0, n));
        else
            buf_add_char(out, '?');
        s = slice_from(s, n ? n : 1);
    }
}

void output_size(struct buf *out, uint64_t octets)
{
    static const char units[] = "KMGTPE";
    uint64_t whole = octets, rest = 0;
    size_t i = 0;

    if (octets < 1024) {
        buf_add_u64(out, octets);
        return;
    }
    for (; whole >= 1024; i++) {
        rest = whole % 1024;
        whole /= 1024;
    }
    buf_add_u64(out, whole);
    if (whole < 10 && rest * 10 / 1024)
        buf_printf(out, ".%u", (unsigned)(rest * 10 / 1024));
    buf_add_char(out, units[i - 1]);
}

void output_duration(struct buf *out, int64_t s)
{
    if (s >= 2 * 86400)
        buf_printf(out, "%lld days", (long long)(s / 86400));
    else if (s >= 3600)
        buf_printf(out, "%lld h %lld min", (long long)(s / 3600), (long long)(s / 60 % 60));
    else if (s >= 60)
        buf_printf(out, "%lld min", (long long)(s / 60));
    else
        buf_printf(out, "%lld s", (long long)(s < 0 ? 0 : s));
}

void output_json(const json_t *item)
{
    char *text = json_dumps(item, JSON_COMPACT);

    INVARIANT(text);
    puts(text);
    free(text);
}

void output_say(const struct cli *c, const char *fmt, ...)
{
    struct buf raw = BUF_INIT(BUF_OWN), clean = BUF_INIT(BUF_OWN);
    va_list ap;

    if (c->json)
        return;
    va_start(ap, fmt);
    buf_vprintf(&raw, fmt, ap);
    va_end(ap);
    output_clean(&clean, buf_slice(&raw), true);
    fflush(stdout);
    fprintf(stderr, "%s\n", buf_str(&clean));
    buf_free(&raw);
    buf_free(&clean);
}

/* --- cells --- */

static uint64_t number_of(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0;
}

static void add_value(struct buf *out, const json_t *v)
{
    if (json_is_string(v))
        output_clean(out, slice_of(json_string_value(v), json_string_length(v)), false);
    else if (json_is_integer(v))
        buf_printf(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        buf_add_str(out, json_is_true(v) ? "yes" : "no");
    else
        buf_add_char(out, '-');
}

static void add_used(struct buf *out, const json_t *item, bool plain)
{
    const json_t *used = json_object_get(item, "used"), *quota = json_object_get(item, "quota");

    if (plain) {
        add_value(out, used);
        buf_add_char(out, '\t');
        add_value(out, quota);
        return;
    }
    if (json_is_integer(used))
        output_size(out, number_of(used));
    else
        buf_add_char(out, '-');
    if (number_of(quota)) {
        buf_add_char(out, '/');
        output_size(out, number_of(quota));
    }
}

static void add_cell(struct buf *out, const struct column *col, const json_t *item, bool plain)
{
    if (col->cell == CELL_USED)
        add_used(out, item, plain);
    else
        add_value(out, json_object_get(item, col->key));
}

static size_t width_of(const char *z)
{
    int w = u8_strwidth((const uint8_t *)z, "UTF-8");

    return w > 0 ? (size_t)w : 0;
}

/* --- tables --- */

void table_init(struct table *t, const struct cli *c, const struct column *columns, size_t n)
{
    *t = (struct table){.cli = c, .columns = columns, .ncolumns = n};
}

void table_add(struct table *t, const json_t *item)
{
    if (t->cli->json) {
        output_json(item);
        return;
    }
    if (!t->cli->plain)
        t->cells = mem_realloc(t->cells, (t->nrows + 1) * t->ncolumns, sizeof *t->cells);
    for (size_t i = 0; i < t->ncolumns; i++) {
        struct buf cell = BUF_INIT(BUF_OWN);

        add_cell(&cell, &t->columns[i], item, t->cli->plain);
        if (t->cli->plain)
            printf("%s%s", i ? "\t" : "", buf_str(&cell));
        else
            t->cells[t->nrows * t->ncolumns + i] = mem_strdup(buf_str(&cell));
        buf_free(&cell);
    }
    if (t->cli->plain)
        putchar('\n');
    t->nrows++;
}

void table_item(void *ctx, struct slice json)
{
    json_t *item = json_loadb(json.p ? json.p : "", json.n, 0, NULL);

    if (json_is_object(item))
        table_add(ctx, item);
    json_decref(item);
}

static void print_cell(const struct table *t, size_t column, const char *text, size_t width, bool head)
{
    const struct column *col = &t->columns[column];
    size_t pad = width - width_of(text);
    bool right = col->cell == CELL_NUMBER || col->cell == CELL_USED, last = column + 1 == t->ncolumns;
    bool warn = col->cell == CELL_STATE && !head && strcmp(text, "active") != 0 && strcmp(text, "ready") != 0;
    const char *colour = !t->cli->colour ? "" : head ? BOLD : warn ? YELLOW : "";

    printf("%*s%s%s%s%*s", right ? (int)pad : 0, "", colour, text, *colour ? PLAIN : "",
        right || last ? 0 : (int)pad, "");
    if (last)
        putchar('\n');
    else
        fputs("  ", stdout);
}

void table_end(struct table *t)
{
    size_t *width = mem_zalloc(t->ncolumns, sizeof *width);

    for (size_t i = 0; t->cells && i < t->ncolumns; i++) {
        width[i] = width_of(t->columns[i].title);
        for (size_t r = 0; r < t->nrows; r++)
            if (width_of(t->cells[r * t->ncolumns + i]) > width[i])
                width[i] = width_of(t->cells[r * t->ncolumns + i]);
    }
    for (size_t i = 0; t->cells && i < t->ncolumns; i++)
        print_cell(t, i, t->columns[i].title, width[i], true);
    for (size_t r = 0; t->cells && r < t->nrows; r++)
        for (size_t i = 0; i < t->ncolumns; i++) {
            print_cell(t, i, t->cells[r * t->ncolumns + i], width[i], false);
            free(t->cells[r * t->ncolumns + i]);
        }
    free(width);
    free(t->cells);
    t->cells = NULL;
}

void output_object(const struct cli *c, const json_t *item)
{
    const char *key;
    json_t *v;

    if (c->json) {
        output_json(item);
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)item, key, v)
    {
        struct buf text = BUF_INIT(BUF_OWN);

        if (!c->plain && strcmp(key, "quota") == 0 && number_of(v) == 0)
            buf_add_str(&text, "none");
        else if (!c->plain && json_is_integer(v) && (strcmp(key, "quota") == 0 || strcmp(key, "used") == 0))
            output_size(&text, number_of(v));
        else
            add_value(&text, v);
        if (c->plain)
            printf("%s\t%s\n", key, buf_str(&text));
        else
            printf("%-10s %s\n", key, buf_str(&text));
        buf_free(&text);
    }
}
