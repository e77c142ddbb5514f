/* postamt mailbox list, create, delete, rename: the mailboxes of one account. */
#include "admin/ask.h"
#include "admin/mailbox_common.h"
#include "admin/mailbox_files.h"
#include "admin/output.h"
#include "common/mem.h"
#include "store/mailbox.h"

#include <stdlib.h>

#define BOXES_MAX ((size_t)64 << 20)

enum err_code mailbox_name_of(struct cli *c, const char *text, struct buf *out)
{
    struct err e = {0};

    buf_clear(out);
    if (folder_normalise(slice_str(text), out, &e) < 0)
        return fault_set(&c->fault, ERR_MAILBOX_NAME,
            "write it as a mail program shows it, in UTF-8, with / between "
            "the levels",
            "\"%s\" is no name for a mailbox", text);
    return ERR_OK;
}

static json_t *status_item(struct account *a, const struct account_mailbox *box, struct err *e)
{
    struct mailbox_status s;

    if (mailbox_status(a, box->name, &s, e) < 0)
        return NULL;
    return json_pack("{s:s%,s:I,s:I,s:I,s:I,s:I,s:s,s:b}", "mailbox", box->name.p, box->name.n, "messages",
        (json_int_t)s.messages, "unseen", (json_int_t)s.unseen, "used", (json_int_t)s.size, "uidvalidity",
        (json_int_t)s.uidvalidity, "uidnext", (json_int_t)s.uidnext, "use", special_use_name(box->use),
        "subscribed", box->subscribed);
}

enum err_code cmd_mailbox_list(struct cli *c)
{
    static const struct column columns[] = {{"MAILBOX", "mailbox", CELL_TEXT},
        {"MESSAGES", "messages", CELL_NUMBER}, {"UNSEEN", "unseen", CELL_NUMBER}, {"SIZE", "used", CELL_USED},
        {"UIDVALIDITY", "uidvalidity", CELL_NUMBER}, {"USE", "use", CELL_TEXT}};
    struct mailbox_place p;
    enum err_code code = mailbox_open_account(c, c->args.object[0], &p);
    struct account_mailbox *boxes;
    struct arena arena;
    struct table t;
    struct err e = {0};
    ssize_t n = 0;

    arena_init(&arena, BOXES_MAX);
    table_init(&t, c, columns, sizeof columns / sizeof *columns);
    if (code == ERR_OK) {
        n = account_list(p.account, false, &arena, &boxes, &e);
        code = n < 0 ? mailbox_fault(c, &e) : ERR_OK;
    }
    for (ssize_t i = 0; i < n && code == ERR_OK; i++) {
        json_t *item;

        if (!boxes[i].exists)
            continue;
        item = status_item(p.account, &boxes[i], &e);
        if (item)
            table_add(&t, item);
        else if (e.code != ERR_NO_MAILBOX) /* deleted this moment */
            code = mailbox_fault(c, &e);
        json_decref(item);
    }
    table_end(&t);
    arena_free(&arena);
    mailbox_close_account(&p);
    return code;
}

/* What was done, as an object or a sentence. */
static void tell(const struct cli *c, const char *mailbox, const char *done)
{
    bool dry = cli_flag(c, FLAG_DRY_RUN) != NULL;
    json_t *o;

    output_say(c, "%s %s%s", mailbox, dry ? "would be " : "was ", done);
    if (!c->json)
        return;
    o = json_pack("{s:s,s:s,s:b}", "mailbox", mailbox, "done", done, "dry_run", dry);
    if (o)
        output_json(o);
    json_decref(o);
}

enum err_code cmd_mailbox_create(struct cli *c)
{
    struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1);
    enum err_code code = mailbox_name_of(c, c->args.object[1], &name);
    struct mailbox_place p = {.mail_root = -1, .state_root = -1};
    struct err e = {0};

    if (code == ERR_OK)
        code = mailbox_open_account(c, c->args.object[0], &p);
    if (code == ERR_OK && account_has(p.account, buf_slice(&name)))
        code =
            fault_set(&c->fault, ERR_MAILBOX_EXISTS, NULL, "there is a mailbox %s already", buf_str(&name));
    if (code == ERR_OK && !cli_flag(c, FLAG_DRY_RUN) &&
        (account_mailbox_create(p.account, buf_slice(&name), USE_NONE, &e) < 0 ||
            account_subscribe(p.account, buf_slice(&name), true, &e) < 0))
        code = mailbox_fault(c, &e);
    if (code == ERR_OK)
        tell(c, buf_str(&name), "created");
    mailbox_close_account(&p);
    buf_free(&name);
    return code;
}

/* Opens the account and makes sure that the mailbox is there. */
static enum err_code open_existing(struct cli *c, struct buf *name, struct mailbox_place *p)
{
    enum err_code code = mailbox_name_of(c, c->args.object[1], name);

    *p = (struct mailbox_place){.mail_root = -1, .state_root = -1};
    if (code == ERR_OK)
        code = mailbox_open_account(c, c->args.object[0], p);
    if (code == ERR_OK && !account_has(p->account, buf_slice(name)))
        code = fault_set(&c->fault, ERR_NO_MAILBOX, "see them with: postamt mailbox list ADDRESS",
            "there is no mailbox %s", buf_str(name));
    return code;
}

enum err_code cmd_mailbox_delete(struct cli *c)
{
    struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1);
    struct mailbox_place p;
    struct mailbox_status s;
    enum err_code code = open_existing(c, &name, &p);
    struct err e = {0};

    if (code == ERR_OK && slice_eq(buf_slice(&name), SLICE("INBOX")))
        code =
            fault_set(&c->fault, ERR_CANNOT, "delete its messages with a mail program", "INBOX always stays");
    if (code == ERR_OK && mailbox_status(p.account, buf_slice(&name), &s, &e) < 0)
        code = mailbox_fault(c, &e);
    if (code == ERR_OK) {
        char *question =
            mem_printf("Delete mailbox %s with its %lu messages?", buf_str(&name), (unsigned long)s.messages);

        code = ask_consent(c, question);
        free(question);
    }
    if (code == ERR_OK && !cli_flag(c, FLAG_DRY_RUN)) {
        if (account_mailbox_delete(p.account, buf_slice(&name), &e) < 0 ||
            account_subscribe(p.account, buf_slice(&name), false, &e) < 0)
            code = mailbox_fault(c, &e);
        else
            code = mailbox_add_usage(c, &p, -(int64_t)s.size, -(int64_t)s.messages);
    }
    if (code == ERR_OK)
        tell(c, buf_str(&name), "deleted");
    mailbox_close_account(&p);
    buf_free(&name);
    return code;
}

enum err_code cmd_mailbox_rename(struct cli *c)
{
    struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1), to = BUF_INIT(FOLDER_NAME_MAX + 1);
    struct mailbox_place p;
    enum err_code code = open_existing(c, &name, &p);
    struct err e = {0};

    if (code == ERR_OK)
        code = mailbox_name_of(c, c->args.object[2], &to);
    if (code == ERR_OK && account_has(p.account, buf_slice(&to)))
        code = fault_set(&c->fault, ERR_MAILBOX_EXISTS, NULL, "there is a mailbox %s already", buf_str(&to));
    if (code == ERR_OK && !cli_flag(c, FLAG_DRY_RUN) &&
        account_mailbox_rename(p.account, buf_slice(&name), buf_slice(&to), &e) < 0)
        code = mailbox_fault(c, &e);
    if (code == ERR_OK)
        tell(c, buf_str(&name), "renamed");
    mailbox_close_account(&p);
    buf_free(&name);
    buf_free(&to);
    return code;
}
