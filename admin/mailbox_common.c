#include "admin/mailbox_common.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"

/* --- the directory, asked in a child --- */

static void pass_on(void *ctx, struct slice json)
{
    FILE *to = ctx;

    /* an object is one line: JSON has no line ends of its own */
    fputc('I', to);
    fwrite(json.p, 1, json.n, to);
    fputc('\n', to);
}

_Noreturn static void ask_in_child(struct cli *c, json_t *request, int fd)
{
    FILE *to = fdopen(fd, "w");
    uid_t real, effective, saved;

    if (!to)
        _exit(1);
    /* the rights that the parent laid down for the mail's owner: links and the directory's owner need them */
    if (getresuid(&real, &effective, &saved) == 0 && saved == 0 && effective != 0 &&
        (seteuid(0) < 0 || setegid(0) < 0))
        _exit(1);
    c->fault = (struct fault){0};
    link_directory(c, request, pass_on, to);
    fputc('E', to);
    fwrite(&c->fault, sizeof c->fault, 1, to);
    _exit(fflush(to) == 0 ? 0 : 1);
}

/* As link_directory; the request is let go. */
static enum err_code ask(struct cli *c, json_t *request, link_each *each, void *ctx)
{
    enum err_code code = cli_settings(c);
    int ends[2] = {-1, -1}, kind;
    FILE *from = NULL;
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    pid_t pid;

    if (code == ERR_OK && !request)
        code = fault_set(&c->fault, ERR_SYNTAX, "write it in UTF-8", "the address is not UTF-8");
    if (code != ERR_OK)
        goto out;
    code = fault_set(&c->fault, ERR_INTERNAL, NULL, "the directory could not be asked");
    fflush(stdout);
    if (pipe(ends) < 0 || !(from = fdopen(ends[0], "r")) || (pid = fork()) < 0)
        goto out;
    if (pid == 0) {
        fclose(from);
        ask_in_child(c, request, ends[1]);
    }
    close(ends[1]);
    ends[1] = -1;
    while ((kind = fgetc(from)) == 'I' && (n = getline(&line, &room, from)) > 0)
        each(ctx, slice_of(line, (size_t)n - 1));
    if (kind == 'E' && fread(&c->fault, sizeof c->fault, 1, from) == 1)
        code = c->fault.code;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
out:
    free(line);
    if (from)
        fclose(from);
    else if (ends[0] >= 0)
        close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
    json_decref(request);
    return code;
}

static void take_address(void *ctx, struct slice json)
{
    json_t *item = json_loadb(json.p, json.n, 0, NULL);
    const char *address = json_string_value(json_object_get(item, "address"));
    char **out = ctx;

    if (address) {
        free(*out);
        *out = mem_strdup(address);
    }
    json_decref(item);
}

/* "account show" into a struct mailbox_place. */
static void take_account(void *ctx, struct slice json)
{
    json_t *item = json_loadb(json.p, json.n, 0, NULL);
    struct mailbox_place *p = ctx;
    json_int_t quota = json_integer_value(json_object_get(item, "quota"));
    json_int_t used = json_integer_value(json_object_get(item, "used"));

    take_address(&p->address, json);
    p->quota = quota > 0 ? (uint64_t)quota : 0;
    p->used = used > 0 ? (uint64_t)used : 0;
    p->used_known = json_is_integer(json_object_get(item, "used"));
    json_decref(item);
}

struct addresses {
    char **at;
    size_t n;
};

static void add_address(void *ctx, struct slice json)
{
    struct addresses *a = ctx;
    char *address = NULL;

    take_address(&address, json);
    if (!address)
        return;
    a->at = mem_realloc(a->at, a->n + 1, sizeof *a->at);
    a->at[a->n++] = address;
}

enum err_code mailbox_addresses(struct cli *c, char ***out, size_t *n)
{
    struct addresses a = {0};
    enum err_code code = ask(c, json_pack("{s:s}", "verb", "account list"), add_address, &a);

    *out = a.at;
    *n = a.n;
    return code;
}

static void ignore(void *ctx, struct slice json)
{
    (void)ctx, (void)json;
}

enum err_code mailbox_add_usage(
    struct cli *c, const struct mailbox_place *p, int64_t octets, int64_t messages)
{
    json_t *request = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I}", "verb", "account usage", "address", p->address,
        "octets_added", (json_int_t)(octets > 0 ? octets : 0), "octets_removed",
        (json_int_t)(octets < 0 ? -octets : 0), "messages_added", (json_int_t)(messages > 0 ? messages : 0),
        "messages_removed", (json_int_t)(messages < 0 ? -messages : 0));

    INVARIANT(request);
    return ask(c, request, ignore, NULL);
}

/* --- the mail --- */

enum err_code mailbox_fault(struct cli *c, const struct err *e)
{
    enum err_code code = e->code == ERR_OK ? ERR_INTERNAL : e->code;

    return fault_take(&c->fault, code, slice_str(*e->detail ? e->detail : err_row(code)->text), SLICE(""));
}

/* What is made below must be its owner's. The saved uid stays: ask_in_child needs it. */
static enum err_code become_owner(struct cli *c)
{
    const char *dir = c->settings->mail_dir;
    struct stat st;

    if (stat(dir, &st) < 0)
        return fault_set(&c->fault, errno == EACCES ? ERR_NOT_PERMITTED : ERR_NO_MAILBOX,
            errno == EACCES ? "run it as root" : "start the server once, it makes the folder", "%s: %s", dir,
            strerror(errno));
    if (st.st_uid == geteuid())
        return ERR_OK;
    if (geteuid() != 0)
        return fault_set(
            &c->fault, ERR_NOT_PERMITTED, "run it as root", "the mail in %s belongs to another user", dir);
    if (setgroups(0, NULL) < 0 || setegid(st.st_gid) < 0 || seteuid(st.st_uid) < 0)
        return fault_set(
            &c->fault, ERR_INTERNAL, NULL, "cannot become the owner of %s: %s", dir, strerror(errno));
    return ERR_OK;
}

static int open_folders(struct cli *c, struct mailbox_place *p, struct err *e)
{
    struct slice path = slice_str(p->path);

    p->mail_root = fs_open_root(c->settings->mail_dir);
    if (p->mail_root < 0)
        return err_errno(e, c->settings->mail_dir);
    p->state_root = fs_open_root(c->settings->state_dir);
    if (p->state_root < 0)
        return err_errno(e, c->settings->state_dir);
    if (account_make_dirs(p->mail_root, p->state_root, path, e) < 0)
        return -1;
    p->account = account_open(fs_open_dir(p->mail_root, p->path), fs_open_dir(p->state_root, p->path), e);
    return p->account ? 0 : -1;
}

enum err_code mailbox_open_known(struct cli *c, const char *address, struct mailbox_place *p)
{
    struct buf path = BUF_INIT(4096);
    enum err_code code = cli_settings(c);
    struct err e = {0};

    *p = (struct mailbox_place){.address = mem_strdup(address), .mail_root = -1, .state_root = -1};
    if (code == ERR_OK)
        code = become_owner(c);
    if (code == ERR_OK) {
        if (store_init(&e) == 0 && account_path(slice_str(address), &path, &e) == 0) {
            p->path = mem_strdup(buf_str(&path));
            open_folders(c, p, &e);
        }
        if (!p->account)
            code = mailbox_fault(c, &e);
    }
    buf_free(&path);
    return code;
}

enum err_code mailbox_open_account(struct cli *c, const char *address, struct mailbox_place *p)
{
    struct mailbox_place known = {0};
    enum err_code code;

    *p = (struct mailbox_place){.mail_root = -1, .state_root = -1};
    code = ask(c, json_pack("{s:s,s:s}", "verb", "account show", "address", address), take_account, &known);
    if (code == ERR_OK)
        code = known.address ? mailbox_open_known(c, known.address, p)
                             : fault_set(&c->fault, ERR_NO_USER, NULL, "there is no account %s", address);
    p->quota = known.quota;
    p->used = known.used;
    p->used_known = known.used_known;
    free(known.address);
    return code;
}

void mailbox_close_account(struct mailbox_place *p)
{
    account_close(p->account);
    if (p->mail_root >= 0)
        close(p->mail_root);
    if (p->state_root >= 0)
        close(p->state_root);
    free(p->path);
    free(p->address);
    *p = (struct mailbox_place){.mail_root = -1, .state_root = -1};
}
