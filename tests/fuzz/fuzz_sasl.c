/*
 * A client's side of an exchange: the first octet chooses mechanism and initial response, lines are messages.
 * Nobody gets in: the one account's password is not a password. Ours and libsasl2's mechanisms both read the
 * input.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/password.h"
#include "auth/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int directory_account_get(
    struct directory *d, struct slice address, struct directory_account *out, struct err *e)
{
    static const struct directory_account anna = {.address = "anna@example.org",
        .hash = "$y$",
        .scram = "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlAA==$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=:"
                 "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="};

    (void)d;
    if (!slice_eq(address, slice_str(anna.address)))
        return err_set(e, ERR_NO_USER, "nobody");
    *out = anna;
    return 0;
}

int directory_account_set(struct directory *d, const struct directory_account *a, struct err *e)
{
    (void)d;
    (void)a;
    (void)e;
    abort(); /* only after a login */
}

int directory_account_swap(struct directory *d, const struct directory_account *before,
    const struct directory_account *after, struct err *e)
{
    (void)before;
    return directory_account_set(d, after, e);
}

bool password_verify(struct slice password, const char *hash)
{
    (void)password;
    (void)hash;
    return false;
}

const char *password_nobody(const char *scheme)
{
    (void)scheme;
    return "nobody";
}

int password_hash(struct slice password, const char *scheme, char *out, size_t size, struct err *e)
{
    (void)password;
    (void)scheme;
    (void)out;
    (void)size;
    return err_set(e, ERR_INTERNAL, "not here");
}

int password_scram(struct slice password, unsigned iterations, char *out, size_t size, struct err *e)
{
    (void)password;
    (void)iterations;
    (void)out;
    (void)size;
    return err_set(e, ERR_INTERNAL, "not here");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const mechanisms[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256"};
    static struct sasl_server *server;
    struct buf out = BUF_INIT(65536), account = BUF_INIT(65536);
    struct err e = {0};
    struct slice rest = slice_of(data, size), message = slice_of("", 0);

    if (size == 0)
        return 0;
    if (server == NULL) {
        if (sasl_load("mail.example.org", &e) != 0)
            abort();
        server = sasl_open(NULL, 60);
    }
    rest = slice_from(rest, 1);
    bool initial = (data[0] & 64) == 0 && slice_cut(&rest, '\n', &message);
    struct sasl_exchange *x = sasl_exchange_new(server, "imap", true, "192.0.2.1");
    if (x == NULL)
        abort();
    enum sasl_outcome o =
        sasl_exchange_start(x, slice_str(mechanisms[data[0] % 3]), initial, message, &out, &account, &e);
    while (o == SASL_CONTINUE_EXCHANGE && slice_cut(&rest, '\n', &message)) {
        buf_clear(&out);
        o = sasl_exchange_step(x, message, &out, &account, &e);
    }
    if (o == SASL_DONE || account.n > 0 || (o == SASL_REFUSED && e.code == ERR_OK))
        abort();
    sasl_exchange_free(x);
    buf_free(&out);
    buf_free(&account);
    return 0;
}
