#include "admin/fault.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/output.h"

/* <sysexits.h> in numbers, as the man page has them. */
static const struct {
    int exit;
    const char *fix;
} rows[ERR_COUNT] = {
    [ERR_OK] = {0, ""},
    [ERR_INTERNAL] = {75, "look into the log, then try again; nothing was changed"},
    [ERR_IO] = {75, "look into the log and at the disk, then try again"},
    [ERR_NO_SPACE] = {75, "make room on the disk, then try again"},
    [ERR_UNAVAILABLE] = {75, "try again in a minute"},
    [ERR_OVER_QUOTA] = {65, "give the account more room"},
    [ERR_TOO_BIG] = {65, "use something smaller"},
    [ERR_LIMIT] = {75, "use smaller steps"},
    [ERR_NO_MAILBOX] = {67, "check the name of the mailbox"},
    [ERR_TRY_CREATE] = {67, "create the mailbox first"},
    [ERR_MAILBOX_EXISTS] = {73, "choose another name"},
    [ERR_MAILBOX_NAME] = {65, "choose another name"},
    [ERR_CANNOT] = {73, "remove first what stands in the way"},
    [ERR_HAS_CHILDREN] = {73, "remove the mailboxes below it first"},
    [ERR_READ_ONLY] = {77, "ask its owner"},
    [ERR_KEYWORDS_FULL] = {73, "take one keyword from all messages first"},
    [ERR_EXPUNGED] = {67, "look again"},
    [ERR_CORRUPT] = {75, "look into the log"},
    [ERR_BAD_CHARSET] = {65, "write it in UTF-8"},
    [ERR_SYNTAX] = {65, "check how it is written"},
    [ERR_AUTH_FAILED] = {1, "set a new one with: postamt password set"},
    [ERR_AUTH_BUSY] = {75, "try again in a minute"},
    [ERR_AUTH_SLOW_DOWN] = {75, "wait ten minutes"},
    [ERR_AUTH_MECHANISM] = {65, "choose another mechanism"},
    [ERR_AUTH_CANCELLED] = {75, "try again"},
    [ERR_AUTH_PRIVACY] = {77, "use TLS"},
    [ERR_AUTH_REQUIRED] = {77, "log in first"},
    [ERR_NO_USER] = {67, "see the accounts with: postamt account list"},
    [ERR_NO_RELAY] = {67, "see the domains with: postamt domain list"},
    [ERR_BAD_FROM] = {65, "write one From line with one address"},
    [ERR_SENDING_LIMIT] = {75, "raise limits.outbound_per_hour in postamt.conf"},
    [ERR_SENDER_DENIED] = {77, "give the right with: postamt alias add --may-send"},
    [ERR_LOOP] = {65, "see the aliases with: postamt alias list"},
    [ERR_TOO_MANY] = {75, "try again in a minute"},
    [ERR_EXISTS] = {73, "nothing needs to be done, or choose another name"},
    [ERR_NO_DOMAIN] = {67, "see the domains with: postamt domain list"},
    [ERR_NO_MESSAGE] = {67, "see what is there with: postamt queue list"},
    [ERR_USAGE] = {64, "see: postamt --help"},
    [ERR_NOT_RUNNING] = {69, "start it with: systemctl start postamt"},
    [ERR_NOT_PERMITTED] = {77, "run it as root or as a member of group postamt"},
    [ERR_CONFIG] = {78, "correct the file, then try it with: postamt config check"},
};

int fault_exit(enum err_code code)
{
    code = err_code_checked((unsigned)code);
    /* every code but ERR_OK fails; a forgotten row must not look like success */
    return code != ERR_OK && rows[code].exit == 0 ? 75 : rows[code].exit;
}

static void put(char *to, size_t size, struct slice s)
{
    size_t n = s.n < size ? s.n : size - 1;

    if (n)
        memcpy(to, s.p, n);
    to[n] = '\0';
}

static void default_fix(struct fault *f)
{
    if (f->fix[0] == '\0' && rows[f->code].fix)
        put(f->fix, sizeof f->fix, slice_str(rows[f->code].fix));
}

enum err_code fault_set(struct fault *f, enum err_code code, const char *fix, const char *fmt, ...)
{
    va_list ap;

    f->code = err_code_checked((unsigned)code);
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    put(f->fix, sizeof f->fix, slice_str(fix));
    default_fix(f);
    return f->code;
}

enum err_code fault_take(struct fault *f, enum err_code code, struct slice text, struct slice fix)
{
    ssize_t end;

    text = slice_trim(text);
    fix = slice_trim(fix);
    f->code = err_code_checked((unsigned)code);
    if (slice_eq(fix, text) || slice_eq(fix, slice_str(err_row(f->code)->text)))
        fix = SLICE(""); /* the sentence of the network's reply, which is no advice for an administrator */
    /* several lines are complaints about the configuration: each has its own advice */
    end = slice_chr(text, '\n') < 0 ? slice_find(text, SLICE("; ")) : -1;
    if (end >= 0) {
        fix = slice_from(text, (size_t)end + 2);
        text = slice_sub(text, 0, (size_t)end);
    }
    put(f->text, sizeof f->text, text.n ? text : slice_str(err_row(f->code)->text));
    put(f->fix, sizeof f->fix, fix);
    default_fix(f);
    return f->code;
}

static enum err_code code_of(const char *name)
{
    for (unsigned i = 0; name && i < ERR_COUNT; i++)
        if (strcmp(err_row((enum err_code)i)->name, name) == 0)
            return i == ERR_OK ? ERR_INTERNAL : (enum err_code)i;
    return ERR_INTERNAL;
}

static struct slice text_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : SLICE("");
}

enum err_code fault_read(struct fault *f, struct slice json)
{
    json_t *end = json_loadb(json.p ? json.p : "", json.n, 0, NULL);
    const json_t *error = json_object_get(end, "error");
    enum err_code code = ERR_OK;

    if (!json_is_object(end))
        code = fault_set(f, ERR_INTERNAL, NULL, "the server's answer could not be understood");
    else if (error)
        code = fault_take(f, code_of(json_string_value(json_object_get(error, "code"))),
            text_of(error, "text"), text_of(error, "fix"));
    json_decref(end);
    return code;
}

void fault_show(const struct fault *f, bool json)
{
    json_t *o;
    char *text;

    fflush(stdout);
    if (!json) {
        struct buf out = BUF_INIT(BUF_OWN);

        output_clean(&out, slice_str(f->text), true);
        fprintf(stderr, "postamt: %s\n", buf_str(&out));
        buf_clear(&out);
        output_clean(&out, slice_str(f->fix), true);
        fprintf(stderr, "%s\n", buf_str(&out));
        buf_free(&out);
        return;
    }
    o = json_pack(
        "{s:{s:s,s:s,s:s}}", "error", "code", err_row(f->code)->name, "text", f->text, "fix", f->fix);
    text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    puts(text ? text : "{\"error\":{\"code\":\"INTERNAL\"}}");
    free(text);
    json_decref(o);
}
