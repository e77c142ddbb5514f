/*
 * cli: one run of the postamt command: what was asked, how to answer, what went wrong.
 *
 * main.c fills it and calls the verb's function, which lives in the file of its noun.
 */
#ifndef ADMIN_CLI_H
#define ADMIN_CLI_H

#include "admin/args.h"
#include "admin/fault.h"
#include "common/settings.h"

#define CLI_CONFIG POSTAMT_SYSCONFDIR "/postamt/postamt.conf"

struct cli {
    struct args args;
    const char *config;        /* name of the configuration file */
    struct settings *settings; /* NULL until cli_settings */
    bool json, plain, colour;
    struct fault fault;
    int status; /* of a run that did not fail: 1 a check found problems, 2 partly done */
};

/* Reads the configuration if that was not done yet; its complaints go to stderr. */
enum err_code cli_settings(struct cli *c);
/* "--flag" was given; its value ("" of a switch), or NULL. */
const char *cli_flag(const struct cli *c, enum flag f);

enum err_code cmd_account_add(struct cli *c);
enum err_code cmd_account_list(struct cli *c);
enum err_code cmd_account_show(struct cli *c);
enum err_code cmd_account_remove(struct cli *c);
enum err_code cmd_account_suspend(struct cli *c);
enum err_code cmd_account_language(struct cli *c);
enum err_code cmd_account_resume(struct cli *c);
enum err_code alias_add(struct cli *c);
enum err_code alias_list(struct cli *c);
enum err_code alias_remove(struct cli *c);
enum err_code alias_test(struct cli *c);
enum err_code config_check(struct cli *c);
enum err_code config_describe(struct cli *c);
enum err_code config_diff(struct cli *c);
enum err_code config_reload(struct cli *c);
enum err_code domain_add(struct cli *c);
enum err_code domain_dkim(struct cli *c);
enum err_code domain_dns(struct cli *c);
enum err_code domain_list(struct cli *c);
enum err_code domain_remove(struct cli *c);
enum err_code cmd_mailbox_purge(struct cli *c);
enum err_code cmd_mailbox_undelete(struct cli *c);
enum err_code cmd_mailbox_create(struct cli *c);
enum err_code cmd_mailbox_delete(struct cli *c);
enum err_code cmd_mailbox_export(struct cli *c);
enum err_code cmd_mailbox_export_dovecot(struct cli *c);
enum err_code cmd_mailbox_import(struct cli *c);
enum err_code cmd_mailbox_list(struct cli *c);
enum err_code cmd_mailbox_rename(struct cli *c);
enum err_code cmd_mailbox_repair(struct cli *c);
enum err_code cmd_mailbox_verify(struct cli *c);
enum err_code password_check(struct cli *c);
enum err_code password_set(struct cli *c);
enum err_code cmd_queue_change(struct cli *c);
enum err_code cmd_queue_drop(struct cli *c);
enum err_code cmd_queue_list(struct cli *c);
enum err_code cmd_queue_show(struct cli *c);
enum err_code cmd_queue_suppress(struct cli *c);
enum err_code cmd_queue_why(struct cli *c);
enum err_code status_show(struct cli *c);

#endif
