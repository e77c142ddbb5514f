/* postamt mailbox verify, repair, export-dovecot: whole accounts, looked at and written out. */
#include "admin/mailbox_common.h"
#include "admin/output.h"
#include "store/foreign_export.h"
#include "store/verify.h"

#include <stdio.h>

#define BOXES_MAX ((size_t)64 << 20)

/* --- verify and repair --- */

struct report {
    const struct cli *cli;
    bool repair, dry;
};

static void show_finding(void *ctx, const struct verify_finding *f)
{
    const struct report *r = ctx;
    struct buf text = BUF_INIT(BUF_OWN), clean = BUF_INIT(BUF_OWN);
    const char *state = !r->repair || !f->repairable ? "to do"
                        : r->dry                     ? "would be repaired"
                        : f->repaired                ? "repaired"
                                                     : "not repaired";
    json_t *o;

    if (r->cli->json) {
        o = json_pack("{s:s%,s:s,s:s,s:s,s:b,s:b}", "mailbox", f->mailbox.p, f->mailbox.n, "file", f->file,
            "text", f->what, "fix", f->fix, "repairable", f->repairable, "repaired", f->repaired);
        output_json(o ? o : json_object()); /* a file's name that is no UTF-8 */
        json_decref(o);
        return;
    }
    if (r->cli->plain)
        buf_printf(&text, "%.*s\t%s\t%s\t%s\t%s", SLICE_FMT(f->mailbox), f->file, f->what, f->fix, state);
    else
        buf_printf(&text, "%.*s%s%s: %s; %s: %s", SLICE_FMT(f->mailbox), f->mailbox.n && *f->file ? "/" : "",
            f->file, f->what, state, f->fix);
    if (r->cli->plain)
        printf("%s\n", buf_str(&text));
    else {
        output_clean(&clean, buf_slice(&text), false);
        printf("%s\n", buf_str(&clean));
    }
    buf_free(&text);
    buf_free(&clean);
}

static enum err_code check(struct cli *c, bool repair)
{
    struct report r = {.cli = c, .repair = repair, .dry = cli_flag(c, FLAG_DRY_RUN) != NULL};
    struct mailbox_place p;
    enum err_code code = mailbox_open_account(c, c->args.object[0], &p);
    struct verify v = {.account = p.account, .repair = repair, .dry = r.dry, .each = show_finding, .ctx = &r};
    struct err e = {0};

    if (code == ERR_OK && verify_account(&v, &e) < 0)
        code = mailbox_fault(c, &e);
    if (code == ERR_OK) {
        uint64_t left = v.findings - v.repaired;

        if (v.findings == 0)
            output_say(c, "%s: %llu messages, all is well", p.address, (unsigned long long)v.messages);
        else
            output_say(c, "%s: %llu messages, %llu findings, %llu repaired", p.address,
                (unsigned long long)v.messages, (unsigned long long)v.findings,
                (unsigned long long)v.repaired);
        c->status = !repair ? v.findings > 0 : left && !r.dry ? 2 : 0;
    }
    mailbox_close_account(&p);
    return code;
}

enum err_code cmd_mailbox_verify(struct cli *c)
{
    return check(c, false);
}

enum err_code cmd_mailbox_repair(struct cli *c)
{
    return check(c, true);
}

/* --- export-dovecot --- */

static enum err_code export_one(
    struct cli *c, struct account *a, struct slice name, bool dry, struct table *t, uint32_t *highest)
{
    struct foreign_export x;
    struct err e = {0};
    json_t *item;

    if (foreign_export(a, name, dry, &x, &e) < 0)
        return mailbox_fault(c, &e);
    if (x.uidvalidity > *highest)
        *highest = x.uidvalidity;
    item = json_pack("{s:s%,s:I,s:I,s:I,s:I,s:b}", "mailbox", name.p, name.n, "messages",
        (json_int_t)x.messages, "uidvalidity", (json_int_t)x.uidvalidity, "uidnext", (json_int_t)x.uidnext,
        "renamed", (json_int_t)x.renamed, "dry_run", dry);
    if (item)
        table_add(t, item);
    json_decref(item);
    return ERR_OK;
}

enum err_code cmd_mailbox_export_dovecot(struct cli *c)
{
    static const struct column columns[] = {{"MAILBOX", "mailbox", CELL_TEXT},
        {"MESSAGES", "messages", CELL_NUMBER}, {"UIDVALIDITY", "uidvalidity", CELL_NUMBER},
        {"UIDNEXT", "uidnext", CELL_NUMBER}};
    bool dry = cli_flag(c, FLAG_DRY_RUN) != NULL;
    struct mailbox_place p;
    enum err_code code = mailbox_open_account(c, c->args.object[0], &p);
    struct account_mailbox *boxes;
    struct arena arena;
    struct table t;
    struct err e = {0};
    uint32_t highest = 0;
    ssize_t n = 0;

    arena_init(&arena, BOXES_MAX);
    table_init(&t, c, columns, sizeof columns / sizeof *columns);
    if (code == ERR_OK) {
        n = account_list(p.account, false, &arena, &boxes, &e);
        code = n < 0 ? mailbox_fault(c, &e) : ERR_OK;
    }
    for (ssize_t i = 0; i < n && code == ERR_OK; i++)
        if (boxes[i].exists)
            code = export_one(c, p.account, boxes[i].name, dry, &t, &highest);
    if (code == ERR_OK && !dry && foreign_export_uidvalidity(p.account, highest, &e) < 0)
        code = mailbox_fault(c, &e);
    table_end(&t);
    if (code == ERR_OK)
        output_say(c,
            "Dovecot %s the UIDs, flags and keywords of %s as they are now; stop postamt before it starts",
            dry ? "would find" : "finds", p.address);
    arena_free(&arena);
    mailbox_close_account(&p);
    return code;
}
