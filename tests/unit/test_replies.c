/* What servers say and what it is taken for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/utf8.h"
#include "mail/replies_table.h"

static void explained(void **state)
{
    static const struct {
        const char *host, *reply, *name, *provider;
    } rows[] = {
        {"gmail-smtp-in.l.google.com",
            "550-5.7.26 This mail has been blocked because the sender is\r\n550 5.7.26 unauthenticated.",
            "unauthenticated", "Gmail"},
        {"aspmx.l.google.com.",
            "550-5.7.26 Unauthenticated email from x.org is not accepted due to domain's DMARC policy",
            "dmarc", "Gmail"},
        {"ALT1.aspmx.l.GOOGLE.com", "550 5.1.1 The email account that you tried to reach does not exist.",
            "mailbox-unknown", ""},
        {"aspmx.l.google.com", "452 4.2.2 The recipient's inbox is out of storage space.", "mailbox-full",
            ""},
        {"aspmx.l.google.com", "421 4.7.28 unusual rate of unsolicited mail", "rate", "Gmail"},
        {"aspmx.l.google.com", "421 4.7.0 Try again later, closing connection.", "rate", "Gmail"},
        {"aspmx.l.google.com", "550 5.7.29 TLS", "tls-required", "Gmail"},
        {"mx.notgoogle.com", "550 5.7.29 seal broken", "arc", ""},
        {"mx.example.org", "550 5.7.30 REQUIRETLS support required", "requiretls", ""},
        {"x.mail.protection.outlook.com", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
            "microsoft-banned", "Microsoft"},
        {"x.mail.protection.outlook.com", "550 5.4.1 Recipient address rejected: Access denied.",
            "mailbox-unknown", "Microsoft"},
        {"x.mail.protection.outlook.com", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", "mailbox-unknown",
            "Microsoft"},
        {"x.mail.protection.outlook.com",
            "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited", "rate", "Microsoft"},
        {"hotmail-com.olc.protection.outlook.com",
            "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. (S3140).",
            "microsoft-blocklist", "Microsoft"},
        {"x.mail.protection.outlook.com",
            "550 5.7.509 Access denied, sending domain x does not pass DMARC verification", "dmarc",
            "Microsoft"},
        {"mta7.am0.yahoodns.net", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred",
            "yahoo-complaints", "Yahoo"},
        {"mta7.am0.yahoodns.net", "554 delivery error: dd This user doesn't have a yahoo.com account",
            "mailbox-unknown", "Yahoo"},
        {"mta7.am0.yahoodns.net", "554 5.7.9 Message not accepted for policy reasons.", "dmarc", "Yahoo"},
        {"mx00.gmx.net",
            "554-gmx.net (mxgmx016) Nemesis ESMTP Service not available\r\n554-No SMTP service\r\n554-Bad "
            "DNS PTR resource record.",
            "reverse-dns", "GMX"},
        {"mx-ha03.web.de",
            "554-web.de (mxweb) Nemesis ESMTP Service not available\r\n554-No SMTP service\r\n554 IP address "
            "is block listed.",
            "gmx-policy", "GMX"},
        {"mx00.t-online.de",
            "554 IP=192.0.2.1 - A problem occurred. (Ask your postmaster for help or to contact "
            "tosa@rx.t-online.de to clarify.) (BL)",
            "tonline-unknown", "T-Online"},
        {"mx01.mail.icloud.com", "554 5.7.1 [HM08] Message rejected due to local policy.", "icloud-policy",
            "iCloud"},
        {"mx01.mail.icloud.com",
            "550 5.7.0 Blocked - see https://support.proofpoint.com/dnsbl-lookup.cgi?ip=192.0.2.1",
            "proofpoint", ""},
        {"mx.example.org",
            "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "spamhaus", ""},
        {"mx.example.org",
            "554 5.7.1 blocked using zen.spamhaus.org; Error: open resolver; "
            "https://check.spamhaus.org/returnc/pub/192.0.2.1/",
            "list-misused", ""},
        {"mx.example.org", "550 https://www.spamhaus.org/pbl/query/PBL1", "spamhaus-pbl", ""},
        {"mx.example.org",
            "450 4.2.0 <b@example.org>: Recipient address rejected: Greylisted, see http://postgrey",
            "greylist", ""},
        {"mx.example.org", "450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]",
            "reverse-dns", ""},
        {"mx.example.org", "550 5.7.1 spam", "content", ""},
        {"mx.example.org", "550 5.7.1 go away", "access-denied", ""},
        {"mx.example.org", "550 5.1.10 no", "null-mx", ""},
        {"mx.example.org", "556 5.1.10 Recipient address has null MX", "null-mx", ""},
        {"mx.example.org", "550 5.7.27 Sender address has null MX", "sender-null-mx", ""},
        {"mx.example.org", "550 5.7.23 SPF validation failed", "spf", ""},
        {"mx.example.org", "550 5.7.25 Reverse DNS validation failed", "reverse-dns", ""},
        {"mx.example.org", "552 5.3.4 Message size exceeds fixed limit", "too-big", ""},
        {"mx.example.org", "552 message too large", "too-big", ""},
        {"mx.example.org", "552 no", "mailbox-full", ""},
        {"mx.example.org", "550 User unknown", "mailbox-unknown", ""},
        {"mx.example.org", "450 User unknown", "later", ""},
        {"mx.example.org", "554 5.4.6 Routing loop", "loop", ""},
        {"mx.example.org", "530 5.7.0 Must issue a STARTTLS command first", "tls-required", ""},
        {"mx.example.org", "554 5.7.1 <b@example.org>: Relay access denied", "no-relay", ""},
        {"mx.example.org", "553 5.6.7 needs SMTPUTF8", "no-smtputf8", ""},
        {"mx.example.org", "421 bye", "system-busy", ""},
        {"mx.example.org", "451 4.3.0 oops", "later", ""},
        {"mx.example.org", "554 no", "refused", ""},
        {"", "", "unclear", ""},
        {"", "hello", "unclear", ""},
        {"", "5", "unclear", ""},
        {".", "550", "refused", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reply_meaning m = replies_explain(slice_str(rows[i].host), slice_str(rows[i].reply));

        if (strcmp(m.name, rows[i].name) != 0 || strcmp(m.provider, rows[i].provider) != 0)
            fail_msg("%s: %s (%s)", rows[i].reply, m.name, m.provider);
    }
}

static void parts_are_found(void **state)
{
    static const struct {
        const char *reply;
        int code, status[3];
        const char *text;
    } rows[] = {
        {"550 5.1.1 No", 550, {5, 1, 1}, "No"},
        {"550-5.1.10 No\r\n550 more", 550, {5, 1, 10}, "No\r\n550 more"},
        {"550 No 5.1.1", 550, {0, 0, 0}, "No 5.1.1"},
        {"5.7.1 No", 0, {5, 7, 1}, "No"},
        {"550", 550, {0, 0, 0}, ""},
        {"550 5.7", 550, {0, 0, 0}, "5.7"},
        {"550 5.7.1", 550, {5, 7, 1}, ""},
        {"550 5.7.1.2 x", 550, {0, 0, 0}, "5.7.1.2 x"},
        {"550 5.1234.1 x", 550, {0, 0, 0}, "5.1234.1 x"},
        {"550 3.1.1 x", 550, {0, 0, 0}, "3.1.1 x"},
        {"5500 x", 0, {0, 0, 0}, "5500 x"},
        {"", 0, {0, 0, 0}, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reply_parts p = replies_parse(slice_str(rows[i].reply));

        if (p.code != rows[i].code || memcmp(p.status, rows[i].status, sizeof p.status) != 0 ||
            !slice_eq(p.text, slice_str(rows[i].text)))
            fail_msg("%s: %d %d.%d.%d", rows[i].reply, p.code, p.status[0], p.status[1], p.status[2]);
    }
}

/* Every rule has its meaning, every meaning a rule or a use of its own, every sentence its end. */
static void tables_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < replies_nrules; i++) {
        size_t found = 0;

        for (size_t k = 0; k < replies_nrows; k++)
            found += strcmp(replies_rules[i].name, replies_rows[k].name) == 0;
        if (found != 1)
            fail_msg("rule %zu: %s", i, replies_rules[i].name);
    }
    for (size_t k = 0; k < replies_nrows; k++) {
        size_t found = 0;

        for (size_t i = 0; i < replies_nrules; i++)
            found += strcmp(replies_rules[i].name, replies_rows[k].name) == 0;
        if (!found)
            fail_msg("%s: no rule", replies_rows[k].name);
        for (int l = 0; l < REPLY_LANGUAGES; l++) {
            struct slice cause = slice_str(replies_rows[k].cause[l]), fix = slice_str(replies_rows[k].fix[l]);

            if (!slice_ends(cause, SLICE(".")) ||
                !(slice_ends(fix, SLICE(".")) || slice_ends(fix, SLICE(")."))) || !utf8_is_valid(cause) ||
                !utf8_is_valid(fix))
                fail_msg("%s", replies_rows[k].name);
        }
    }
    for (int c = 0; c < REPLY_CLASSES; c++)
        assert_true(*replies_class_name((enum reply_class)c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(explained),
        cmocka_unit_test(parts_are_found),
        cmocka_unit_test(tables_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
