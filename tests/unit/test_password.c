/* Hashes, SCRAM verifiers against RFC 7677's example, what a refusal costs, and which passwords are
 * complained of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/password.h"

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void hashes_are_made_and_verified(void **state)
{
    static const struct {
        const char *scheme, *prefix;
    } rows[] = {{"yescrypt", "$y$j9T$"}, {"sha512crypt", "$6$rounds=25000$"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char one[192], two[192];

        assert_int_equal(password_hash(SLICE("correct horse"), rows[i].scheme, one, sizeof one, NULL), 0);
        assert_int_equal(password_hash(SLICE("correct horse"), rows[i].scheme, two, sizeof two, NULL), 0);
        assert_memory_equal(one, rows[i].prefix, strlen(rows[i].prefix));
        assert_string_not_equal(one, two);
        assert_true(password_verify(SLICE("correct horse"), one));
        assert_false(password_verify(SLICE("correct horsf"), one));
        assert_false(password_verify(SLICE(""), one));
        assert_false(password_verify(SLICE("correct horse\0"), one));
    }
}

static void hashes_of_other_servers_are_taken_or_refused(void **state)
{
    char made[192], prefixed[220], cut[192], out[192];

    (void)state;
    assert_int_equal(password_hash(SLICE("correct horse"), "sha512crypt", made, sizeof made, NULL), 0);
    snprintf(prefixed, sizeof prefixed, "{SHA512-CRYPT}%s\r", made);
    assert_true(password_take_hash(slice_str(made), out, sizeof out));
    assert_string_equal(out, made);
    assert_true(password_take_hash(slice_str(prefixed), out, sizeof out));
    assert_string_equal(out, made);
    assert_true(password_verify(SLICE("correct horse"), out));
    assert_true(password_take_hash(
        SLICE("$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde"), out, sizeof out));
    snprintf(cut, sizeof cut, "%.*s", (int)strlen(made) - 1, made);
    assert_false(password_take_hash(slice_str(cut), out, sizeof out));
    assert_false(password_take_hash(slice_str(made), out, 20));
    assert_false(password_take_hash(SLICE("{SSHA}c29tZXRoaW5nIHNhbHRlZCBhbmQgaGFzaGVk"), out, sizeof out));
    assert_false(password_take_hash(SLICE("aaQSqAReePlq6"), out, sizeof out));
    assert_false(password_take_hash(SLICE("correct horse"), out, sizeof out));
    assert_false(password_take_hash(SLICE("{"), out, sizeof out));
    assert_false(password_take_hash(SLICE(""), out, sizeof out));
}

static void odd_schemes_and_passwords_are_refused(void **state)
{
    char out[192], small[20];
    struct err e;

    (void)state;
    assert_int_equal(password_hash(SLICE("secret12"), "md5crypt", out, sizeof out, &e), -1);
    assert_int_equal(e.code, ERR_CONFIG);
    assert_int_equal(password_hash(SLICE("a\0b"), "yescrypt", out, sizeof out, &e), -1);
    assert_int_equal(e.code, ERR_SYNTAX);
    assert_int_equal(password_hash(SLICE(""), "yescrypt", out, sizeof out, &e), -1);
    assert_int_equal(password_hash(SLICE("secret12"), "sha512crypt", small, sizeof small, &e), -1);
    assert_int_equal(e.code, ERR_INTERNAL);
}

static void foreign_hashes(void **state)
{
    static const struct {
        const char *hash;
        bool good;
    } rows[] = {
        {"", false},
        {"*", false},
        {"!", false},
        {"x", false},
        {"secret12", false},
        {"$", false},
        {"$y$", false},
        {"$y$j9T$", false},
        {"$6$", false},
        {"$1$abcdefgh$G//4keteveJp0qb8z2DxG/", false},
        {"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/"
         "O817G3uBnIFNjnQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1",
            false},
        {"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (password_verify(SLICE("Hello world!"), rows[i].hash) != rows[i].good)
            fail_msg("row %zu: %s", i, rows[i].hash);
}

/* Whether an account exists must not show in the time an answer takes (security.md S12, P01). */
static void refusals_cost_the_same(void **state)
{
    static const char *const hashes[] = {"", "$1$abcdefgh$G//4keteveJp0qb8z2DxG/", "*"};
    char real[192];
    double best_real = 1e9, best[3] = {1e9, 1e9, 1e9};

    (void)state;
    assert_int_equal(password_hash(SLICE("correct horse"), "yescrypt", real, sizeof real, NULL), 0);
    for (int round = 0; round < 5; round++) {
        double t = cpu_ms();

        assert_false(password_verify(SLICE("wrong horse"), real));
        t = cpu_ms() - t;
        best_real = t < best_real ? t : best_real;
        for (size_t i = 0; i < 3; i++) {
            t = cpu_ms();
            assert_false(password_verify(SLICE("wrong horse"), hashes[i]));
            t = cpu_ms() - t;
            best[i] = t < best[i] ? t : best[i];
        }
    }
    for (size_t i = 0; i < 3; i++)
        if (best[i] < best_real * 0.6 || best[i] > best_real * 1.7)
            fail_msg("row %zu: %.2f ms, a real hash %.2f ms", i, best[i], best_real);
}

/* Takes a verifier apart and makes its keys again from password, salt and count, by RFC 5802 3. */
static void assert_scram(const char *text, const char *prepared)
{
    unsigned iterations;
    char salt64[64], stored64[64], server64[64];
    unsigned char salt[64], salted[32], key[32], want[32], got[64];
    unsigned n;

    assert_int_equal(
        sscanf(text, "SCRAM-SHA-256$%u:%63[^$]$%63[^:]:%63s", &iterations, salt64, stored64, server64), 4);
    assert_int_equal(strlen(salt64), 24);
    assert_int_equal(EVP_DecodeBlock(salt, (const unsigned char *)salt64, 24), 18);
    assert_int_equal(PKCS5_PBKDF2_HMAC(prepared, -1, salt, 16, (int)iterations, EVP_sha256(), 32, salted), 1);
    HMAC(EVP_sha256(), salted, 32, (const unsigned char *)"Server Key", 10, want, &n);
    assert_int_equal(EVP_DecodeBlock(got, (const unsigned char *)server64, 44), 33);
    assert_memory_equal(got, want, 32);
    HMAC(EVP_sha256(), salted, 32, (const unsigned char *)"Client Key", 10, key, &n);
    EVP_Digest(key, 32, want, &n, EVP_sha256(), NULL);
    assert_int_equal(EVP_DecodeBlock(got, (const unsigned char *)stored64, 44), 33);
    assert_memory_equal(got, want, 32);
}

static void scram_verifiers(void **state)
{
    /* SASLprep: RFC 4013 3 and a few of what people type */
    static const struct {
        const char *password, *prepared; /* NULL: refused */
    } rows[] = {
        {"pencil", "pencil"},
        {"I\xc2\xadX", "IX"},
        {"user", "user"},
        {"USER", "USER"},
        {"\xc2\xaa", "a"},
        {"\xe2\x85\xa8", "IX"},
        {"a\xc2\xa0"
         "b",
            "a b"},
        {"u\xcc\x88", "\xc3\xbc"},
        {"\x07", NULL},
        {"a\xc2\x85", NULL},
        {"\xee\x80\x80", NULL},
        {"\xff\xfe", NULL},
        {"\xc2\xad", NULL},
        {"", NULL},
    };
    char out[256];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int rc = password_scram(slice_str(rows[i].password), 4096, out, sizeof out, NULL);

        if ((rc == 0) != (rows[i].prepared != NULL))
            fail_msg("row %zu: %d", i, rc);
        if (rc == 0)
            assert_scram(out, rows[i].prepared);
    }
    assert_int_equal(password_scram(SLICE("pencil"), 100000, out, sizeof out, NULL), 0);
    assert_memory_equal(out, "SCRAM-SHA-256$100000:", 21);
    assert_int_equal(password_scram(SLICE("pencil"), 0, out, sizeof out, NULL), -1);
    assert_int_equal(password_scram(SLICE("pencil"), 4096, out, 100, NULL), -1);
}

static void generated_passwords(void **state)
{
    char one[24], two[24];

    (void)state;
    password_generate(one);
    password_generate(two);
    assert_int_equal(strlen(one), 23);
    assert_string_not_equal(one, two);
    for (int round = 0; round < 200; round++) {
        password_generate(one);
        for (size_t i = 0; i < 23; i++)
            assert_non_null(
                memchr(i % 6 == 5 ? "-" : "abcdefghjkmnpqrstuvwxyz23456789", one[i], i % 6 == 5 ? 1 : 31));
        assert_null(password_complaint(slice_str(one), SLICE("a@example.org")));
    }
}

static void complaints(void **state)
{
    static const struct {
        struct slice password;
        const char *word; /* in the complaint; NULL: none */
    } rows[] = {
        {SLICE("1234567"), "short"},
        {SLICE(""), "short"},
        {SLICE("12345678"), NULL},
        {SLICE("correct horse battery"), NULL},
        {SLICE("gr\xc3\xbc\xc3\x9f"
               "dich1"),
            NULL},
        {SLICE("abc\tdefgh"), "control"},
        {SLICE("abcdefg\0"), "control"},
        {SLICE("abcdefg\xff"), "UTF-8"},
        {SLICE("Benjamin@Example.org"), "address"},
        {SLICE("benjamin"), "address"},
        {SLICE("benjamin1"), NULL},
    };
    char longer[257];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *c = password_complaint(rows[i].password, SLICE("benjamin@example.org"));

        if ((c != NULL) != (rows[i].word != NULL) || (c && !strstr(c, rows[i].word)))
            fail_msg("row %zu: %s", i, c ? c : "no complaint");
    }
    memset(longer, 'a', sizeof longer);
    assert_non_null(strstr(password_complaint(slice_of(longer, 257), SLICE("")), "long"));
    assert_null(password_complaint(slice_of(longer, 256), SLICE("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_made_and_verified),
        cmocka_unit_test(hashes_of_other_servers_are_taken_or_refused),
        cmocka_unit_test(odd_schemes_and_passwords_are_refused),
        cmocka_unit_test(foreign_hashes),
        cmocka_unit_test(refusals_cost_the_same),
        cmocka_unit_test(scram_verifiers),
        cmocka_unit_test(generated_passwords),
        cmocka_unit_test(complaints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
