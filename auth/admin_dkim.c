/*
 * domain dkim, domain dns: the verbs about the keys that sign a domain's mail.
 *
 * The postamt command makes the key (an RSA key takes 0.1 s and more, in which authd would answer nobody) and
 * sends it; here it is looked at and kept.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/admin_call.h"
#include "auth/directory_name.h"
#include "auth/dkim_keys.h"
#include "common/log.h"
#include "common/mem.h"

static void say(const char *what, struct slice name)
{
    LOG(ACCOUNT, NULL, F_STR("change", what), F_SLICE("name", name));
}

static json_t *key_item(
    struct slice domain, const char *selector, int64_t created, const struct dkim_key *key)
{
    struct buf record = BUF_INIT(2048);
    json_t *o;

    INVARIANT(dkim_public_record(key, &record));
    o = json_pack("{s:o,s:s,s:s,s:o,s:o}", "domain", call_string(domain), "selector", selector, "algorithm",
        dkim_algorithm_name(dkim_key_algorithm(key)), "created", call_time(created), "record",
        call_string(buf_slice(&record)));
    buf_free(&record);
    return o;
}

/* One of our domains, as its folder is called. */
static enum err_code name_of_ours(const struct call *c, struct buf *name)
{
    struct slice domain = call_text(c, "domain");

    *name = BUF_INIT(ADDRESS_DOMAIN_MAX);
    if (directory_domain_name(admin_directory(c), domain, name))
        return ERR_OK;
    return call_result(c, err_set(c->e, ERR_NO_DOMAIN,
                              "%.*s is not a domain of this server; see them with: postamt domain list",
                              (int)(domain.n > 80 ? 80 : domain.n), domain.p));
}

static bool has_algorithm(const struct dkim_stored_list *list, enum dkim_algorithm algorithm)
{
    for (size_t i = 0; i < list->n; i++)
        if (dkim_key_algorithm(list->item[i].key) == algorithm)
            return true;
    return false;
}

static enum err_code send_keys(const struct call *c, struct slice domain)
{
    int folder = directory_folder(admin_directory(c));
    struct dkim_stored_list list;
    enum err_code code = call_result(c, dkim_keys_load(folder, domain, &list, c->e));

    for (size_t i = 0; code == ERR_OK && i < list.n; i++)
        call_item(c, key_item(domain, list.item[i].selector, list.item[i].created, list.item[i].key));
    dkim_keys_free(&list);
    return code;
}

/* Keeps the key and answers with it; the domain is normalised. */
static enum err_code add_key(const struct call *c, struct slice domain, struct slice pem)
{
    char selector[DKIM_SELECTOR_MAX + 1] = "";
    struct dkim_key *key = dkim_key_load(pem, c->e);
    int64_t now = time(NULL);
    int rc = key ? 0 : -1;

    if (rc == 0 && !c->dry_run)
        rc = dkim_keys_add(directory_folder(admin_directory(c)), domain, pem, now, selector, c->e);
    if (rc == 0 && c->dry_run) {
        /* the key is thrown away: nobody shall publish its record */
        call_item(c, json_pack("{s:o,s:s}", "domain", call_string(domain), "algorithm",
                         dkim_algorithm_name(dkim_key_algorithm(key))));
    } else if (rc == 0) {
        call_item(c, key_item(domain, selector, now, key));
        admin_domain_changed(c, domain);
        say("dkim key added", domain);
    }
    dkim_key_free(key);
    return call_result(c, rc);
}

/* A second one of its kind only when that was meant. */
static enum err_code add_asked(const struct call *c, struct slice domain, struct slice pem)
{
    struct dkim_stored_list list = {.n = 0};
    struct dkim_key *key = dkim_key_load(pem, c->e);
    int rc = key ? dkim_keys_load(directory_folder(admin_directory(c)), domain, &list, c->e) : -1;

    if (rc == 0 && !call_flag(c, "rotate") && has_algorithm(&list, dkim_key_algorithm(key)))
        rc = err_set(c->e, ERR_EXISTS,
            "%.*s has a key of that kind already; put another beside it with --rotate", SLICE_FMT(domain));
    dkim_key_free(key);
    dkim_keys_free(&list);
    return rc == 0 ? add_key(c, domain, pem) : call_result(c, rc);
}

static enum err_code remove_key(const struct call *c, struct slice domain, struct slice selector)
{
    int folder = directory_folder(admin_directory(c));
    struct dkim_stored_list list;
    enum err_code code = call_result(c, dkim_keys_load(folder, domain, &list, c->e));
    size_t i = 0;

    while (code == ERR_OK && i < list.n && !slice_eq(slice_str(list.item[i].selector), selector))
        i++;
    if (code == ERR_OK && i == list.n)
        code = call_result(c,
            err_set(c->e, ERR_NO_USER,
                "%.*s has no key %.*s; see them with: postamt domain "
                "dkim %.*s",
                SLICE_FMT(domain), (int)(selector.n > 63 ? 63 : selector.n), selector.p, SLICE_FMT(domain)));
    if (code == ERR_OK && list.n == 1)
        code = call_result(c,
            err_set(c->e, ERR_CANNOT, "that is the only key of %.*s; make its successor first with --rotate",
                SLICE_FMT(domain)));
    if (code == ERR_OK && !c->dry_run)
        code = call_result(c, dkim_keys_remove(folder, domain, selector, c->e));
    if (code == ERR_OK) {
        call_item(c, key_item(domain, list.item[i].selector, list.item[i].created, list.item[i].key));
        admin_domain_changed(c, domain);
        if (!c->dry_run)
            say("dkim key removed", domain);
    }
    dkim_keys_free(&list);
    return code;
}

enum err_code admin_domain_dkim(struct call *c)
{
    struct slice key = call_text(c, "key"), selector = call_text(c, "remove");
    struct buf name;
    enum err_code code = name_of_ours(c, &name);

    if (code != ERR_OK)
        ;
    else if (selector.n)
        code = remove_key(c, buf_slice(&name), selector);
    else if (key.n)
        code = add_asked(c, buf_slice(&name), key);
    else
        code = send_keys(c, buf_slice(&name));
    buf_free(&name);
    return code;
}

/* The name as the DNS has it, then the keys. */
enum err_code admin_domain_dns(struct call *c)
{
    struct buf name;
    enum err_code code = name_of_ours(c, &name);

    if (code == ERR_OK) {
        call_item(c, json_pack("{s:o}", "domain", call_string(buf_slice(&name))));
        code = send_keys(c, buf_slice(&name));
    }
    buf_free(&name);
    return code;
}

enum err_code admin_dkim_first(struct call *c, struct slice domain, struct slice pem)
{
    struct dkim_stored_list list = {.n = 0};
    enum err_code code = ERR_OK;
    struct name n;

    if (name_of_domain(domain, &n)) {
        code = call_result(c, dkim_keys_load(directory_folder(admin_directory(c)), n.domain, &list, c->e));
        if (code == ERR_OK)
            code = list.n ? send_keys(c, n.domain) : add_key(c, n.domain, pem);
    }
    dkim_keys_free(&list);
    name_free(&n);
    return code;
}

enum err_code admin_dkim_aside(struct call *c, struct slice domain)
{
    enum err_code code = ERR_OK;
    struct name n;

    if (name_of_domain(domain, &n) &&
        dkim_keys_remove(directory_folder(admin_directory(c)), n.domain, SLICE(""), c->e) < 0)
        code = call_result(c, err_set(c->e, c->e->code,
                                  "the domain is removed, but its keys could not be put aside; move "
                                  "dkim/%.*s below paths.auth away",
                                  SLICE_FMT(n.domain)));
    name_free(&n);
    return code;
}
