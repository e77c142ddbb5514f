#include "admin/verbs.h"

#include <stdio.h>
#include <string.h>

#include "admin/cli.h"

#define CHANGES FLAG_BIT(FLAG_DRY_RUN)
#define CHOICE (FLAG_BIT(FLAG_FROM) | FLAG_BIT(FLAG_TO) | FLAG_BIT(FLAG_DOMAIN) | FLAG_BIT(FLAG_ALL))
#define DESTROYS (FLAG_BIT(FLAG_DRY_RUN) | FLAG_BIT(FLAG_YES))

const struct flag_row flag_rows[FLAG_COUNT] = {
    [FLAG_CONFIG] = {"config", "FILE", "configuration (default " CLI_CONFIG ")"},
    [FLAG_JSON] = {"json", NULL, "answers and errors as JSON, one object a line"},
    [FLAG_PLAIN] = {"plain", NULL, "lists as text, fields divided by tabs, no head line"},
    [FLAG_HELP] = {"help", NULL, "this text"},
    [FLAG_VERSION] = {"version", NULL, "which version this is"},
    [FLAG_DRY_RUN] = {"dry-run", NULL, "check everything, change nothing"},
    [FLAG_YES] = {"yes", NULL, "do not ask; needed where nobody can be asked"},
    [FLAG_NAME] = {"name", "TEXT", "the person's name"},
    [FLAG_QUOTA] = {"quota", "SIZE", "room for mail: 500M, 2G or none (default none)"},
    [FLAG_GENERATE] = {"generate", NULL, "make a password and print it"},
    [FLAG_HASH] = {"hash", NULL, "stdin is a crypt(3) hash from another server, not a password"},
    [FLAG_MAY_SEND] = {"may-send", NULL, "the target may send as this address"},
    [FLAG_NO_DELIVERY] = {"no-delivery", NULL, "no mail goes to the target (use with --may-send)"},
    [FLAG_SINCE] = {"since", "TIME", "what was expunged since: 2d, 6h, 2026-11-20 or 2026-11-20T12:30"},
    [FLAG_ALL] = {"all", NULL, "of all accounts; all messages of the queue"},
    [FLAG_FORMAT] = {"format", "KIND",
        "of mail mbox or maildir (default: what it is, or what the name says); of DNS records bind "
        "(default), csv "
        "or json"},
    [FLAG_FROM] = {"from", "ADDRESS", "messages from that sender; <> for notifications"},
    [FLAG_TO] = {"to", "ADDRESS", "messages to that recipient"},
    [FLAG_DOMAIN] = {"domain", "DOMAIN", "messages to recipients of that domain"},
    [FLAG_LANGUAGE] = {"language", "en|de",
        "of what a person reads: explanations, notifications (default en)"},
    [FLAG_ED25519] = {"ed25519", NULL, "a short Ed25519 key, beside the RSA key that all understand"},
    [FLAG_ROTATE] = {"rotate", NULL, "one more key, beside the one there is; both sign"},
    [FLAG_REMOVE] = {"remove", "SELECTOR", "puts this key aside; it signs no longer"},
};

const struct noun nouns[] = {
    {"account", "people's mailboxes: address, name, room, state"},
    {"alias", "addresses whose mail goes to other addresses"},
    {"config", "the configuration file"},
    {"domain", "the domains this server takes mail for"},
    {"mailbox", "the mail of one account"},
    {"password", "people's passwords"},
    {"queue", "mail on its way to other servers"},
    {"status", "what runs, on one screen"},
    {NULL, NULL},
};

const struct verb verbs[] = {
    {"account", "add", "ADDRESS", 1, 1,
        CHANGES | FLAG_BIT(FLAG_NAME) | FLAG_BIT(FLAG_QUOTA) | FLAG_BIT(FLAG_GENERATE) | FLAG_BIT(FLAG_HASH) |
            FLAG_BIT(FLAG_LANGUAGE),
        false, "Makes an account; its password is asked for, or is the first line of stdin.",
        {"postamt account add anna@example.org --name 'Anna Amsel' --quota 2G",
            "postamt account add berta@example.org --generate"},
        cmd_account_add},
    {"account", "language", "ADDRESS LANGUAGE", 2, 2, CHANGES, false,
        "Sets the language of what the server writes to the person: en or de.",
        {"postamt account language anna@example.org de",
            "postamt account language anna@example.org en --dry-run"},
        cmd_account_language},
    {"account", "list", "[DOMAIN]", 0, 1, 0, true,
        "Lists accounts: address, name, room used and given, state.",
        {"postamt account list", "postamt account list example.org --json"}, cmd_account_list},
    {"account", "remove", "ADDRESS", 1, 1, DESTROYS, false,
        "Removes an account: nobody can log in and mail is refused; the mail it has stays on disk.",
        {"postamt account remove anna@example.org", "postamt account remove anna@example.org --yes"},
        cmd_account_remove},
    {"account", "resume", "ADDRESS", 1, 1, CHANGES, false,
        "Lets the owner of a suspended account log in again.",
        {"postamt account resume anna@example.org", "postamt account resume anna@example.org --dry-run"},
        cmd_account_resume},
    {"account", "show", "ADDRESS", 1, 1, 0, false, "Shows all that is known of one account.",
        {"postamt account show anna@example.org", "postamt account show anna@example.org --json"},
        cmd_account_show},
    {"account", "suspend", "ADDRESS", 1, 1, CHANGES, false,
        "Ends the owner's sessions and refuses new ones; mail still arrives.",
        {"postamt account suspend anna@example.org", "postamt account suspend anna@example.org --dry-run"},
        cmd_account_suspend},
    {"alias", "add", "ADDRESS TARGET", 2, 2, CHANGES | FLAG_BIT(FLAG_MAY_SEND) | FLAG_BIT(FLAG_NO_DELIVERY),
        false,
        "Sends mail for ADDRESS (or, as @domain, for all that is not otherwise known there) to TARGET.",
        {"postamt alias add info@example.org anna@example.org --may-send",
            "postamt alias add sales@example.org peter@elsewhere.example"},
        alias_add},
    {"alias", "list", "[DOMAIN]", 0, 1, 0, true, "Lists aliases and the rights of their targets.",
        {"postamt alias list", "postamt alias list example.org --plain"}, alias_list},
    {"alias", "remove", "ADDRESS TARGET", 2, 2, DESTROYS, false, "Takes one target away from an alias.",
        {"postamt alias remove info@example.org anna@example.org",
            "postamt alias remove info@example.org anna@example.org --yes"},
        alias_remove},
    {"alias", "test", "ADDRESS", 1, 1, 0, false, "Says step by step where mail for ADDRESS goes.",
        {"postamt alias test info@example.org", "postamt alias test anna+shop@example.org --json"},
        alias_test},
    {"config", "check", "", 0, 0, 0, false,
        "Reads the configuration; every mistake with its line and its fix.",
        {"postamt config check", "postamt config check --config /tmp/postamt.conf"}, config_check},
    {"config", "describe", "[SETTING]", 0, 1, 0, false,
        "Explains all settings, one, or those of a group: type, default, purpose.",
        {"postamt config describe", "postamt config describe limits"}, config_describe},
    {"config", "diff", "", 0, 0, 0, true, "Lists the settings that differ from their defaults.",
        {"postamt config diff", "postamt config diff --json"}, config_diff},
    {"config", "reload", "", 0, 0, CHANGES, false,
        "Makes the running server use the changed file; a wrong one is refused and changes nothing.",
        {"postamt config reload", "postamt config reload --dry-run"}, config_reload},
    {"domain", "add", "DOMAIN", 1, 1, CHANGES, false,
        "Makes the server take mail for a domain, and a key that signs mail from it.",
        {"postamt domain add example.org", "postamt domain add example.org --dry-run"}, domain_add},
    {"domain", "dkim", "DOMAIN", 1, 1,
        DESTROYS | FLAG_BIT(FLAG_ED25519) | FLAG_BIT(FLAG_ROTATE) | FLAG_BIT(FLAG_REMOVE), false,
        "Lists the keys that sign the domain's mail; makes the first one, or one more, or puts one aside.",
        {"postamt domain dkim example.org --rotate",
            "postamt domain dkim example.org --remove p202511 --yes"},
        domain_dkim},
    {"domain", "dns", "DOMAIN", 1, 1, FLAG_BIT(FLAG_FORMAT), false,
        "Prints the DNS records the domain needs: MX, SPF, DKIM, DMARC, and where mail programs connect to.",
        {"postamt domain dns example.org", "postamt domain dns example.org --format csv"}, domain_dns},
    {"domain", "list", "", 0, 0, 0, true, "Lists the domains with the number of their accounts and aliases.",
        {"postamt domain list", "postamt domain list --plain"}, domain_list},
    {"domain", "remove", "DOMAIN", 1, 1, DESTROYS, false,
        "Removes a domain that has no accounts and aliases left.",
        {"postamt domain remove example.org", "postamt domain remove example.org --yes"}, domain_remove},
    {"mailbox", "purge", "[ADDRESS]", 0, 1, FLAG_BIT(FLAG_ALL), false,
        "Removes for good what was expunged and has been kept long enough.",
        {"postamt mailbox purge --all", "postamt mailbox purge anna@example.org"}, cmd_mailbox_purge},
    {"mailbox", "undelete", "ADDRESS [MAILBOX]", 1, 2, CHANGES | FLAG_BIT(FLAG_SINCE), false,
        "Brings back messages that were expunged, and mailboxes that were deleted.",
        {"postamt mailbox undelete anna@example.org --since 2h --dry-run",
            "postamt mailbox undelete anna@example.org Projects/2026"},
        cmd_mailbox_undelete},
    {"mailbox", "create", "ADDRESS MAILBOX", 2, 2, CHANGES, false,
        "Makes a mailbox, subscribed; those above it too.",
        {"postamt mailbox create anna@example.org Projects/2026",
            "postamt mailbox create anna@example.org Projects --dry-run"},
        cmd_mailbox_create},
    {"mailbox", "delete", "ADDRESS MAILBOX", 2, 2, DESTROYS, false,
        "Deletes a mailbox with all its messages; those below it stay.",
        {"postamt mailbox delete anna@example.org Projects/2026",
            "postamt mailbox delete anna@example.org Projects/2026 --yes"},
        cmd_mailbox_delete},
    {"mailbox", "export", "ADDRESS TARGET [MAILBOX]", 2, 3, CHANGES | FLAG_BIT(FLAG_FORMAT), false,
        "Writes one mailbox, or all, as mbox files or as a Maildir.",
        {"postamt mailbox export anna@example.org /backup/anna --format maildir",
            "postamt mailbox export anna@example.org sent.mbox Sent"},
        cmd_mailbox_export},
    {"mailbox", "export-dovecot", "ADDRESS", 1, 1, CHANGES, false,
        "Writes Dovecot's files, so that it can go on with this Maildir: same UIDs, flags, keywords.",
        {"postamt mailbox export-dovecot anna@example.org --dry-run",
            "postamt mailbox export-dovecot anna@example.org"},
        cmd_mailbox_export_dovecot},
    {"mailbox", "import", "ADDRESS MAILBOX SOURCE", 3, 3, CHANGES | FLAG_BIT(FLAG_FORMAT), false,
        "Brings messages of an mbox file or a Maildir into a mailbox; what is there is skipped.",
        {"postamt mailbox import anna@example.org Old old.mbox",
            "postamt mailbox import anna@example.org INBOX /home/anna/Maildir"},
        cmd_mailbox_import},
    {"mailbox", "list", "ADDRESS", 1, 1, 0, true,
        "Lists the mailboxes of an account: messages, unseen, size, UIDVALIDITY, special use.",
        {"postamt mailbox list anna@example.org", "postamt mailbox list anna@example.org --json"},
        cmd_mailbox_list},
    {"mailbox", "rename", "ADDRESS MAILBOX NAME", 3, 3, CHANGES, false,
        "Gives a mailbox another name; those below it move along.",
        {"postamt mailbox rename anna@example.org Projects Work",
            "postamt mailbox rename anna@example.org Projects Work --dry-run"},
        cmd_mailbox_rename},
    {"mailbox", "repair", "ADDRESS", 1, 1, CHANGES, false,
        "Puts right what verify finds; no message is ever deleted.",
        {"postamt mailbox repair anna@example.org --dry-run", "postamt mailbox repair anna@example.org"},
        cmd_mailbox_repair},
    {"mailbox", "verify", "ADDRESS", 1, 1, 0, false,
        "Looks whether all mailboxes of an account are as they should be: exit status 1 when not.",
        {"postamt mailbox verify anna@example.org", "postamt mailbox verify anna@example.org --json"},
        cmd_mailbox_verify},
    {"password", "check", "ADDRESS", 1, 1, 0, false,
        "Says whether a password is right: exit status 0, or 1 when it is wrong.",
        {"postamt password check anna@example.org", "postamt password check anna@example.org <password.txt"},
        password_check},
    {"password", "set", "ADDRESS", 1, 1, CHANGES | FLAG_BIT(FLAG_GENERATE) | FLAG_BIT(FLAG_HASH), false,
        "Sets a new password; sessions under the old one end.",
        {"postamt password set anna@example.org", "postamt password set anna@example.org --generate"},
        password_set},
    {"queue", "bounce", "[ID ..]", 0, ARGS_MAX, CHANGES | CHOICE, false,
        "Gives messages up now; their senders are told, as if the time had run out.",
        {"postamt queue bounce 0dj3k8m2q4r7t", "postamt queue bounce --to bob@example.com --dry-run"},
        cmd_queue_change},
    {"queue", "drop", "[ID ..]", 0, ARGS_MAX, DESTROYS | CHOICE, false,
        "Removes messages from the queue for good; nobody is told.",
        {"postamt queue drop 0dj3k8m2q4r7t", "postamt queue drop --from spammer@example.org --yes"},
        cmd_queue_drop},
    {"queue", "hold", "[ID ..]", 0, ARGS_MAX, CHANGES | CHOICE, false,
        "Keeps messages back until they are released.",
        {"postamt queue hold 0dj3k8m2q4r7t", "postamt queue hold --from anna@example.org"}, cmd_queue_change},
    {"queue", "list", "[ID ..]", 0, ARGS_MAX, CHOICE, true,
        "Lists messages: age, size, state, next try, recipients left, the last reason.",
        {"postamt queue list", "postamt queue list --domain example.com --json"}, cmd_queue_list},
    {"queue", "release", "[ID ..]", 0, ARGS_MAX, CHANGES | CHOICE, false, "Lets messages go that are held.",
        {"postamt queue release 0dj3k8m2q4r7t", "postamt queue release --all"}, cmd_queue_change},
    {"queue", "retry", "[ID ..]", 0, ARGS_MAX, CHANGES | CHOICE, false,
        "Tries messages now instead of when their time comes.",
        {"postamt queue retry --domain example.com", "postamt queue retry --all"}, cmd_queue_change},
    {"queue", "show", "ID", 1, 1, 0, false, "Shows one message: envelope, and what became of each recipient.",
        {"postamt queue show 0dj3k8m2q4r7t", "postamt queue show 0dj3k8m2q4r7t --json"}, cmd_queue_show},
    {"queue", "suppress", "[ACTION] [ADDRESS]", 0, 2, CHANGES, false,
        "Lists the addresses that refused mail for good, adds one or takes one away (list, add, remove).",
        {"postamt queue suppress list", "postamt queue suppress remove bob@example.com"}, cmd_queue_suppress},
    {"queue", "why", "[ID ..]", 0, ARGS_MAX, CHOICE | FLAG_BIT(FLAG_LANGUAGE), false,
        "Says why messages are still here: the other server's words, and what they mean.",
        {"postamt queue why 0dj3k8m2q4r7t", "postamt queue why --domain example.com --language de"},
        cmd_queue_why},
    {"status", NULL, "", 0, 0, 0, true, "Shows the open ports and the processes of the running server.",
        {"postamt status", "postamt status --json"}, status_show},
    {0},
};

const struct verb *verb_find(const char *noun, const char *name)
{
    for (const struct verb *v = verbs; v->noun; v++) {
        if (strcmp(v->noun, noun) != 0)
            continue;
        if (name ? v->name && strcmp(v->name, name) == 0 : v->bare)
            return v;
    }
    return NULL;
}

const struct noun *noun_find(const char *name)
{
    for (const struct noun *n = nouns; n->name; n++)
        if (strcmp(n->name, name) == 0)
            return n;
    return NULL;
}

/* --- help --- */

static void help_flags(unsigned flags)
{
    puts("\nFlags:");
    for (int f = 0; f < FLAG_COUNT; f++) {
        const struct flag_row *r = &flag_rows[f];

        if (flags & FLAG_BIT(f))
            printf("  --%s%s%-*s %s\n", r->name, r->value ? " " : "",
                (int)(14 - strlen(r->name) - (r->value ? 1 : 0)), r->value ? r->value : "", r->help);
    }
}

static void help_command(void)
{
    puts("Usage: postamt NOUN [VERB] [OBJECT] [--flag ..]\n"
         "Administers the postamt mail server.\n\n"
         "Nouns:");
    for (const struct noun *n = nouns; n->name; n++)
        printf("  %-10s %s\n", n->name, n->what);
    puts("\nA noun alone lists. \"postamt NOUN --help\" shows its verbs.");
    help_flags(FLAGS_ALL | FLAG_BIT(FLAG_VERSION));
    puts("\nExamples:\n  postamt domain add example.org\n  postamt account add anna@example.org");
}

static void help_noun(const struct noun *n)
{
    printf("Usage: postamt %s VERB [OBJECT] [--flag ..]\n%s: %s.\n\nVerbs:\n", n->name, n->name, n->what);
    for (const struct verb *v = verbs; v->noun; v++)
        if (strcmp(v->noun, n->name) == 0)
            printf("  %s %s\n      %s%s\n", v->name, v->arguments, v->what,
                v->bare ? " (without a verb, too)" : "");
    help_flags(FLAGS_ALL);
    puts("\nExamples:");
    for (const struct verb *v = verbs; v->noun; v++)
        if (strcmp(v->noun, n->name) == 0)
            printf("  %s\n", v->example[0]);
    printf("\nmanual: man postamt-%s\n", n->name);
}

static void help_verb(const struct verb *v)
{
    printf("Usage: postamt %s%s%s%s%s [--flag ..]\n%s\n", v->noun, v->name ? " " : "", v->name ? v->name : "",
        *v->arguments ? " " : "", v->arguments, v->what);
    help_flags(FLAGS_ALL | v->flags);
    printf("\nExamples:\n  %s\n  %s\n\nmanual: man postamt-%s\n", v->example[0], v->example[1], v->noun);
}

void verbs_help(const char *noun, const struct verb *verb)
{
    const struct noun *n = noun ? noun_find(noun) : NULL;

    if (verb)
        help_verb(verb);
    else if (n)
        help_noun(n);
    else
        help_command();
}
