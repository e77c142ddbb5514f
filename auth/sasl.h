/*
 * sasl: logins by libsasl2 (the one file that includes <sasl/sasl.h>), over the directory.
 *
 * PLAIN and LOGIN through a checkpass callback, SCRAM-SHA-256 through an auxprop plugin of ours in this
 * process; no file of /etc is read. A context is made at the start of an exchange and disposed after it.
 * Steps may hash (slow): authd calls them in its threads; one exchange is stepped by one thread at a time.
 * Unknown user and wrong password look and take the same: a dummy is hashed, fake SCRAM keys (keyed by a
 * process secret) are given.
 */
#ifndef AUTH_SASL_H
#define AUTH_SASL_H

#include "auth/directory.h"

struct sasl_server;
struct sasl_exchange;

/* Before the sandbox: loads libsasl2's mechanisms from the system's sasl2 folder. hostname: for all contexts.
 */
int sasl_load(const char *hostname, struct err *e);
/*
 * After sasl_load; one at a time in a process. (Not sasl_server_new: libsasl2 has a function of that name.)
 * sasl_close unloads the library too.
 */
struct sasl_server *sasl_open(struct directory *d, uint64_t cache_seconds);
void sasl_close(struct sasl_server *s);
/* auth.hash: an older kind of hash is replaced by this when its password comes; "yescrypt" until told
 * otherwise. */
void sasl_set_hash(struct sasl_server *s, const char *scheme);
/* "PLAIN LOGIN" or "SCRAM-SHA-256 PLAIN LOGIN". SCRAM needs /dev/urandom, in the sandbox too, or is left out.
 */
const char *sasl_server_mechanisms(struct sasl_server *s, bool scram);

/* With tls == false too passwords are taken: whether they may come in clear (plain_login) the caller decides
 * before. */
struct sasl_exchange *sasl_exchange_new(
    struct sasl_server *s, const char *service, bool tls, const char *client_ip);
void sasl_exchange_free(struct sasl_exchange *x);

enum sasl_outcome { SASL_CONTINUE_EXCHANGE, SASL_DONE, SASL_REFUSED };
/*
 * First step: mechanism and the initial response (has_initial; an empty one is not the same as none). Data is
 * decoded octets both ways. SASL_DONE: *account is the normalised address. SASL_REFUSED: e has AUTH_FAILED,
 * AUTH_MECHANISM, ..
 */
enum sasl_outcome sasl_exchange_start(struct sasl_exchange *x, struct slice mechanism, bool has_initial,
    struct slice initial, struct buf *to_client, struct buf *account, struct err *e);
enum sasl_outcome sasl_exchange_step(struct sasl_exchange *x, struct slice from_client, struct buf *to_client,
    struct buf *account, struct err *e);
/* Who tried, for log and throttle; empty when not known. */
struct slice sasl_exchange_user(const struct sasl_exchange *x);

/* User and password as POP3 USER/PASS and IMAP LOGIN bring them; the same check, the same cache. */
bool sasl_check_password(struct sasl_server *s, const char *service, struct slice user, struct slice password,
    struct buf *account, struct err *e);
/* True when that check would be answered from the cache of verified passwords: no thread is needed. */
bool sasl_check_is_cached(
    struct sasl_server *s, const char *service, struct slice user, struct slice password);
/* Forget what is remembered of an account. */
void sasl_forget(struct sasl_server *s, struct slice account);

#endif
