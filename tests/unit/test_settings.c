/* settings: what is taken, what is refused and in which words. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/fs.h"
#include "common/settings.h"

#define HOST "hostname = \"mail.example.org\";\n"

static struct settings *parse(const char *z, struct buf *out)
{
    return settings_parse(slice_str(z), "c", out);
}

/* All of the complaints, exactly. */
static const struct {
    const char *text, *says;
} wrong[] = {
    /* names */
    {"hostnam = \"a.b\";", "c:1: hostnam is no setting; did you mean hostname?\n"},
    {HOST "limits = {\n  mesage_size = \"1M\";\n};",
        "c:3: limits.mesage_size is no setting; did you mean message_size?\n"},
    {HOST "Limits = { };", "c:2: Limits is no setting; did you mean limits?\n"},
    {HOST "message_size = \"1M\";", "c:2: message_size is no setting; did you mean limits.message_size? It "
                                    "is written limits = { message_size = ..; };\n"},
    {HOST "log_level = \"info\";",
        "c:2: log_level is no setting; did you mean log.level? It is written log = { level = ..; };\n"},
    {HOST "tls = { protocols = \"1.2\"; };",
        "c:2: tls.protocols is no setting; take it out (postamt config describe shows what there is)\n"},
    {HOST "log.level = \"info\";", "c:2: a name has no dot; write log = { level = ..; };\n"},
    {HOST "tls = \"x\";", "c:2: tls is a group; write tls = { dir = ..; };\n"},
    {HOST "fronts = 1;\nfronts = 2;", "c:3: duplicate setting name; settings are written name = value; with "
                                      "texts in quotes, groups in { }, lists in ( "
                                      "), and no name twice\n"},
    {HOST "@include \"/etc/passwd\"", "c:2: @include is not followed; write the settings into this file\n"},
    /* types and the way values are written */
    {HOST "limits = { message_size = 10M; };",
        "c:2: 10M is not a plain number; write it in quotes: \"10M\"\n"},
    {HOST "limits = { message_size = 1000000; };",
        "c:2: limits.message_size is a size with its unit; write it in quotes, such as \"50M\"\n"},
    {HOST "limits = { login = \"60\"; };",
        "c:2: limits.login is \"60\", which is no time; write one such as \"60s\" (s, m, h, d)\n"},
    {HOST "limits = { login = \"5 m\"; };",
        "c:2: limits.login is \"5 m\", which is no time; write one such as \"60s\" (s, m, h, d)\n"},
    {HOST "limits = { message_size = \"50MB\"; };",
        "c:2: limits.message_size is \"50MB\", which is no size; write one such as \"50M\" (K, M, G)\n"},
    {HOST "limits = { message_size = \"99999999999999999999T\"; };",
        "c:2: limits.message_size is \"99999999999999999999T\", which is no size; write one such as \"50M\" "
        "(K, M, G)\n"},
    {HOST "limits = { message_size = \"18014398509481985K\"; };",
        "c:2: limits.message_size is \"18014398509481985K\", which is no size; write one such as \"50M\" (K, "
        "M, G)\n"},
    {HOST "limits = { message_size = \"-1M\"; };",
        "c:2: limits.message_size is \"-1M\", which is no size; write one such as \"50M\" (K, M, G)\n"},
    {HOST "limits = { loopback = yes; };", "c:2: yes without quotes is not understood; write true\n"},
    {HOST "limits = { loopback = 1; };", "c:2: limits.loopback is true or false; write one of them\n"},
    {HOST "limits = { loopback = \"perhaps\"; };",
        "c:2: limits.loopback is \"perhaps\"; write true or false\n"},
    {HOST "sandbox = optional;", "c:2: the text optional has no quotes; write \"optional\"\n"},
    {HOST "sandbox = 1;", "c:2: sandbox is a text; write it in quotes\n"},
    {HOST "sandbox = \"of\\x07f\";", "c:2: sandbox is \"of\\x07f\"; write one of required, optional\n"},
    {HOST "log = { to = /var/log/x; };", "c:2: the text /var/log/x has no quotes; write \"/var/log/x\"\n"},
    {HOST "log = { to = \"syslog\"; };",
        "c:2: log.to is \"syslog\"; write \"stderr\", \"journal\" or a file name from / on\n"},
    {HOST "fronts = true;", "c:2: fronts is a number; write one between 0 and 256\n"},
    {HOST "fronts = 1.5;", "c:2: 1.5 is not a plain number; write it in quotes: \"1.5\"\n"},
    {HOST "listen = 25;", "c:2: listen is a list; write listen = ( { .. }, { .. } );\n"},
    {HOST "dns = { server = \"ns.example.org\"; };",
        "c:2: dns.server is \"ns.example.org\"; write an IP address, or one with a port such as "
        "\"192.0.2.1@5353\"\n"},
    {HOST "dns = { server = \"192.0.2.1@\"; };",
        "c:2: dns.server is \"192.0.2.1@\"; write an IP address, or one with a port such as "
        "\"192.0.2.1@5353\"\n"},
    {HOST "dns = { server = \"*@53\"; };",
        "c:2: dns.server is \"*@53\"; write an IP address, or one with a port such as \"192.0.2.1@5353\"\n"},
    /* ranges */
    {HOST "fronts = -1;", "c:2: fronts is -1; it must be between 0 and 256\n"},
    {HOST "fronts = 257;", "c:2: fronts is 257; it must be between 0 and 256\n"},
    {HOST "fronts = 4294967297;",
        "c:2: the number 4294967297 is too large; the largest one that can be written is 2147483647\n"},
    {HOST "fronts = 4294967297L;", "c:2: fronts is 4294967297; it must be between 0 and 256\n"},
    {HOST "fronts = -4294967295;",
        "c:2: the number -4294967295 is too small; the smallest one that can be written is -2147483647\n"},
    {HOST "limits = { message_size = \"1K\"; };",
        "c:2: limits.message_size is 1K; it must be between 64K and 2147483647\n"},
    {HOST "limits = { idle_imap = \"30s\"; };",
        "c:2: limits.idle_imap is 30s; it must be between 1m and 7d\n"},
    {HOST "limits = { recipients_mx = 50; };",
        "c:2: limits.recipients_mx is 50; it must be between 100 and 100000\n"},
    /* host and paths */
    {"hostname = \"box\";", "c:1: hostname is \"box\", which is no full name of a server; write one such as "
                            "\"mail.example.org\"\n"},
    {"hostname = \"192.0.2.1\";", "c:1: hostname is \"192.0.2.1\", which is no full name of a server; write "
                                  "one such as \"mail.example.org\"\n"},
    {"hostname = \"a..b\";", "c:1: hostname is \"a..b\", which is no full name of a server; write one such "
                             "as \"mail.example.org\"\n"},
    {"hostname = \"a_b.example\";", "c:1: hostname is \"a_b.example\", which is no full name of a server; "
                                    "write one such as \"mail.example.org\"\n"},
    {HOST "paths = { mail = \"mail\"; };",
        "c:2: paths.mail is \"mail\", which is not absolute; write it from / on\n"},
    {HOST "paths = { mail = \"/a/../b\"; };",
        "c:2: paths.mail is \"/a/../b\", which has a . or .. in it; write where it really leads\n"},
    {HOST "paths = { mail = \"\"; };",
        "c:2: paths.mail is \"\", which is not absolute; write it from / on\n"},
    {HOST "paths = { mail = \"/a\\nb\"; };",
        "c:2: paths.mail is \"/a\\x0ab\", which has control characters; take them out\n"},
    {HOST "paths = { mail = \"/a\"; state = \"/a/\"; };",
        "c:2: paths.mail and paths.state are the same folder; give each its own\n"},
    {HOST "paths = { mail = \"/a\";\n state = \"/a/b\"; };",
        "c:3: paths.state lies inside paths.mail; put them side by side\n"},
    {HOST "paths = { mail = \"/var/lib/postamt/auth/m\"; };",
        "c:2: paths.mail lies inside paths.auth; put them side by side\n"},
    /* lists */
    {HOST "listen = ();",
        "c:2: listen is empty, so no port would be open; leave it out for the standard ports\n"},
    {HOST "listen = (25);", "c:2: an entry of listen is written { service = \"imap\"; port = 143; }\n"},
    {HOST "listen = ({ port = 25; });", "c:2: this listener has no service; write service = \"imap\", "
                                        "\"pop3\", \"smtp\" or \"submission\"\n"},
    {HOST "listen = ({ service = \"imaps\"; });",
        "c:2: listen.service is \"imaps\"; write one of smtp, submission, imap, pop3\n"},
    {HOST "listen = ({ service = \"imap\"; prot = 1; });",
        "c:2: listen.prot is no setting; did you mean port?\n"},
    {HOST "listen = ({ service = \"imap\"; port = 65536; });",
        "c:2: listen.port is 65536; it must be between 0 and 65535\n"},
    {HOST "listen = ({ service = \"imap\"; tls = \"ssl\"; });",
        "c:2: listen.tls is \"ssl\"; write one of none, starttls, tls\n"},
    {HOST "listen = ({ service = \"imap\"; address = \"localhost\"; });",
        "c:2: listen.address is \"localhost\"; write an IP address of this machine, or \"*\" for all\n"},
    {HOST "listen = ({ service = \"smtp\"; tls = \"tls\"; });",
        "c:2: smtp with tls = \"tls\" has no port of its own; write port = ..\n"},
    {HOST "listen = ({ service = \"imap\"; port = 993; tls = \"starttls\"; });",
        "c:2: mail programs expect TLS from the first octet on port 993; write tls = \"tls\" or another "
        "port\n"},
    {HOST "listen = ({ service = \"imap\"; tls = \"none\"; });",
        "c:2: nobody could log in at this imap port; write tls = \"starttls\", or plain_login = true for a "
        "trusted "
        "network\n"},
    {HOST "listen = (\n{ service = \"imap\"; },\n{ service = \"pop3\"; port = 143; address = \"127.0.0.1\"; "
          "});",
        "c:4: port 143 is taken by the listener of line 3; give one of them another port or address\n"},
    {HOST "listen = ({ service = \"imap\"; address = \"::\"; }, { service = \"imap\"; address = \"::1\"; });",
        "c:2: port 143 is taken by the listener of line 2; give one of them another port or address\n"},
    {HOST "tls = { certificates = ({ chain = \"/a\"; }); };",
        "c:2: this certificate has no key; write key = \"/..\"\n"},
    {HOST "tls = { certificates = ({ chain = \"a\"; key = \"/b\"; }); };",
        "c:2: tls.certificates.chain is \"a\", which is not absolute; write it from / on\n"},
    {HOST "tls = { certificates = ({ chain = \"/a\"; key = \"/b\"; }, { chain = \"/a\"; key = \"/c\"; }); };",
        "c:2: the certificate /a stands here twice; take one out\n"},
    {HOST "tls = { certificates = (\"/a\"); };",
        "c:2: an entry of tls.certificates is written { chain = \"/..\"; key = \"/..\"; }\n"},
    {HOST "routes = ({ to = \"bank.example\"; });",
        "c:2: this route has no host and changes nothing; write host = \"..\", or tls = \"required\" to ask "
        "TLS of the domain's own servers\n"},
    {HOST "routes = ({ tls = \"required\"; port = 26; });",
        "c:2: port and user belong to a host; write host = \"..\" in this route\n"},
    {HOST "routes = ({ host = \"smtp.example.com\"; tls = \"implicit\"; user = \"a\"; });",
        "c:2: user and password_file belong together; write both\n"},
    {HOST "routes = ({ host = \"smtp.example.com\"; user = \"a\"; password_file = \"/p\"; });",
        "c:2: the password would go to whoever answers; write tls = \"required\" or \"implicit\"\n"},
    {HOST "routes = ({ to = \"a b\"; host = \"smtp.example.com\"; });",
        "c:2: routes.to is \"a b\", which is no domain; write one such as \"example.org\" (xn--.. for "
        "letters "
        "beyond ASCII)\n"},
    {HOST "routes = ({ host = \"smtp.example.com\"; tls = \"yes\"; });",
        "c:2: routes.tls is \"yes\"; write one of opportunistic, required, implicit, none\n"},
    {HOST "routes = ({ host = \"smtp.example.com\"; port = 0; });",
        "c:2: routes.port is 0; it must be between 1 and 65535\n"},
    {HOST "routes = (\"smtp.example.com\");",
        "c:2: an entry of routes is written { to = \"example.org\"; host "
        "= \"smtp.example.net\"; }\n"},
    {HOST "routes = ({ host = \"a.example\"; },\n{ hots = \"a.example\"; });",
        "c:3: routes.hots is no setting; did you mean host?\n"},
    {HOST "backup_mx = ({ });", "c:2: this entry names no domain; write domain = \"..\"\n"},
    {HOST "backup_mx = ({ domain = \"-\"; });",
        "c:2: backup_mx.domain is \"-\", which is no domain; write one such as \"example.org\" (xn--.. for "
        "letters beyond ASCII)\n"},
    {HOST "backup_mx = \"friend.example\";",
        "c:2: backup_mx is a list; write backup_mx = ( { .. }, { .. } );\n"},
    {HOST "queue = { life = \"1s\"; };", "c:2: queue.life is 1s; it must be between 1m and 30d\n"},
    {HOST "outbound = { ipv6 = \"only\"; };",
        "c:2: outbound.ipv6 is \"only\"; write one of prefer, after, off\n"},
    /* the text as such */
    {HOST "log = { level = \"info; };\n",
        "c:2: a text has no closing quote in its line; write \" behind it\n"},
    {HOST "/* limits\n", "c:2: the comment that begins here has no end; write */ behind it\n"},
    {HOST "limits = {\nlogin = \"1m\";\n", "c:2: the { of this line is never closed; write }; at its end\n"},
    {HOST "limits = (\n};", "c:3: } does not close the ( of line 2; close that first\n"},
    {HOST "};", "c:2: } closes nothing; take it out\n"},
    {HOST "a = ((((((((((1))))))))));", "c:2: brackets stand more than 8 deep; no setting needs that\n"},
    {HOST "!", "c:2: the octet ! means nothing here; texts stand in quotes\n"},
    {HOST "fronts 4;", "c:2: a name stands without = and value before 4\n"},
    {HOST "4 = 5;", "c:2: 4 cannot begin a setting; a setting is written name = value;\n"},
    {HOST "= 4;", "c:2: = stands without a name before it; a setting is written name = value;\n"},
    {HOST "fronts = 4;;", "c:2: ; stands where a setting is due\n"},
    {HOST "fronts = ;", "c:2: ; stands where a value is due\n"},
    {HOST "fronts;", "c:2: ; stands where a = is due\n"},
    {HOST "fronts =", "c:2: the last setting has no value; a setting is written name = value;\n"},
    {HOST "fronts delivers = 4;", "c:2: a name stands without = and value before delivers\n"},
    {HOST "fronts \"4\";", "c:2: \" stands where a name is due; a setting is written name = value;\n"},
    {HOST "log = \"a\" \"b\";", "c:2: \" stands where a name is due; a setting is written name = value;\n"},
    {HOST "listen = [ 1 ];", "c:2: [ is not used here; lists stand in ( )\n"},
    {HOST "listen = ( { } { } );",
        "c:2: two entries of a list stand side by side; write a comma between them\n"},
    {HOST "listen = ( { }, );", "c:2: ) stands where a value is due\n"},
    {HOST "listen = ( { }; { } );", "c:2: ; stands where a value is due\n"},
    {HOST "log = { level = };", "c:2: } stands where a value is due\n"},
    /* every complaint is told, not the first alone */
    {HOST "fronts = 300;\ndelivers = 0;\nsandbox = \"no\";",
        "c:2: fronts is 300; it must be between 0 and 256\nc:3: delivers is 0; it must be between 1 and 256\n"
        "c:4: sandbox is \"no\"; write one of required, optional\n"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct buf out = BUF_INIT(BUF_OWN);
        struct settings *s = parse(wrong[i].text, &out);
        if (s != NULL || strcmp(buf_str(&out), wrong[i].says) != 0)
            fail_msg("row %zu: %s\nsaid:   %swanted: %s", i, wrong[i].text, buf_str(&out), wrong[i].says);
        buf_free(&out);
    }
}

static void test_nul_and_size(void **state)
{
    struct buf out = BUF_INIT(BUF_OWN);

    (void)state;
    assert_null(settings_parse(SLICE("fronts = 1;\n# a\0b\n"), "c", &out));
    assert_string_equal(buf_str(&out), "c:2: a NUL octet stands here; this is not a text file\n");
    buf_clear(&out);
    char *large = calloc(1, 1048577);
    assert_non_null(large);
    assert_null(settings_parse(slice_of(large, 1048577), "c", &out));
    assert_string_equal(
        buf_str(&out), "c:1: the file has more than 1048576 octets; it is not a configuration\n");
    free(large);
    buf_free(&out);
}

static void test_standards(void **state)
{
    static const struct {
        enum service service;
        enum listener_tls tls;
        unsigned port;
    } ports[] = {
        {SERVICE_SMTP, LISTENER_STARTTLS, 25},
        {SERVICE_SUBMISSION, LISTENER_STARTTLS, 587},
        {SERVICE_SUBMISSION, LISTENER_TLS, 465},
        {SERVICE_IMAP, LISTENER_STARTTLS, 143},
        {SERVICE_IMAP, LISTENER_TLS, 993},
        {SERVICE_POP3, LISTENER_STARTTLS, 110},
        {SERVICE_POP3, LISTENER_TLS, 995},
    };
    struct buf out = BUF_INIT(BUF_OWN);

    (void)state;
    struct settings *s = parse(HOST, &out);
    assert_non_null(s);
    assert_string_equal(s->hostname, "mail.example.org");
    assert_string_equal(s->mail_dir, "/var/lib/postamt/mail");
    assert_string_equal(s->run_dir, "/run/postamt");
    assert_string_equal(s->tls_dir, "/var/lib/postamt/tls");
    assert_string_equal(s->sandbox, "required");
    assert_int_equal(s->message_size, 50 << 20);
    assert_int_equal(s->max_recipients, 1000);
    assert_int_equal(s->max_recipients_mx, 100);
    assert_int_equal(s->smtp_connections_per_address, 20);
    assert_int_equal(s->connections_per_address, 50);
    assert_int_equal(s->connections_per_user, 50);
    assert_int_equal(s->new_per_minute, 60);
    assert_false(s->limit_loopback);
    assert_int_equal(s->idle_imap_s, 1800);
    assert_int_equal(s->idle_pop3_s, 600);
    assert_int_equal(s->login_timeout_s, 60);
    assert_int_equal(s->smtp_timeout_s, 300);
    assert_int_equal(s->smtp_session_s, 1800);
    assert_int_equal(s->delivers, 8);
    assert_int_equal(s->fronts, 0);
    assert_int_equal(s->auth_cache_s, 300);
    assert_int_equal(s->worker_linger_s, 30);
    assert_string_equal(s->auth_scram, "auto");
    assert_string_equal(s->auth_hash, "yescrypt");
    assert_string_equal(s->text, HOST);
    assert_string_equal(s->queue_dir, "/var/lib/postamt/queue");
    assert_int_equal(s->queue_life_s, 5 * 86400);
    assert_int_equal(s->queue_warn_s, 4 * 3600);
    assert_int_equal(s->queue_backup_life_s, 30 * 86400);
    assert_int_equal(s->queue_per_destination, 20);
    assert_int_equal(s->queue_connections, 200);
    assert_int_equal(s->queue_rate, 0);
    assert_int_equal(s->outbound_per_hour, 500);
    assert_int_equal(s->outbound_per_day, 1000);
    assert_string_equal(s->outbound_ipv6, "after");
    assert_false(s->outbound_private);
    assert_int_equal(s->outbound_port, 25);
    assert_string_equal(s->dns_server, "");
    assert_int_equal(s->nroutes, 0);
    assert_int_equal(s->nbackups, 0);
    assert_int_equal(s->ncertificates, 0);
    assert_int_equal(s->nlisteners, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(s->listeners[i].service, ports[i].service);
        assert_int_equal(s->listeners[i].tls, ports[i].tls);
        assert_int_equal(s->listeners[i].port, ports[i].port);
        assert_string_equal(s->listeners[i].address, "*");
        assert_false(s->listeners[i].plain_login);
    }
    settings_free(s);
    buf_free(&out);
}

static void test_good(void **state)
{
    static const char text[] =
        "// a comment with \"quotes\n" HOST "paths : { mail = \"/m/\"; state = \"/s\"; }\n"
        "log = { level = \"debug\"; to = \"/var/log/post\\\"amt\"; };\n"
        "tls = { certificates = ( { chain = \"/c.pem\"; key = \"/k.pem\" } ); };\n"
        "listen = ( { service = \"imap\"; port = 993; }, # tls\n"
        "  { service = \"pop3\", tls = \"none\", plain_login = TRUE, address = \"::1\" },\n"
        "  { service = \"pop3\"; address = \"127.0.0.1\"; port = 110; },\n"
        "  { service = \"imap\"; port = 0; }, { service = \"imap\"; port = 0; } );\n"
        "limits = { message_size = \"100m\"; loopback = \"yes\"; idle_imap = \"1h\"; };\n"
        "fronts = 2L; /* two\n lines */ auth = { cache = \"0s\"; };\n";
    static const char diff[] =
        "hostname = \"mail.example.org\"\npaths.mail = \"/m\"\npaths.state = \"/s\"\nlog.to = "
        "\"/var/log/post\\\"amt\"\n"
        "log.level = \"debug\"\nfronts = 2\nlimits.message_size = \"100M\"\nlimits.loopback = "
        "true\nlimits.idle_imap = "
        "\"1h\"\nauth.cache = \"0s\"\ntls.certificates = ({ chain = \"/c.pem\"; key = \"/k.pem\"; })\n"
        "listen = ({ service = \"imap\"; tls = \"tls\"; address = \"*\"; port = 993; plain_login = false; }, "
        "{ service = \"pop3\"; tls = \"none\"; address = \"::1\"; port = 110; plain_login = true; }, "
        "{ service = \"pop3\"; tls = \"starttls\"; address = \"127.0.0.1\"; port = 110; plain_login = false; "
        "}, "
        "{ service = \"imap\"; tls = \"starttls\"; address = \"*\"; port = 0; plain_login = false; }, "
        "{ service = \"imap\"; tls = \"starttls\"; address = \"*\"; port = 0; plain_login = false; })\n";
    struct buf out = BUF_INIT(BUF_OWN);

    (void)state;
    struct settings *s = parse(text, &out);
    assert_string_equal(buf_str(&out), "");
    assert_non_null(s);
    settings_diff(s, &out);
    assert_string_equal(buf_str(&out), diff);
    settings_free(s);
    buf_free(&out);
}

static void test_routes(void **state)
{
    static const char text[] = HOST
        "routes = ( { to = \"Bank.Example\"; tls = \"required\"; },\n"
        "  { from = \"example.net\"; host = \"192.0.2.1\"; port = 2525; tls = \"none\"; },\n"
        "  { host = \"smtp.example.com\"; tls = \"implicit\"; user = \"a@b\"; password_file = \"/p\"; } );\n"
        "backup_mx = ( { domain = \"friend.example\"; }, { domain = \"XN--BCHER-KVA.example\"; } );\n";
    struct buf out = BUF_INIT(BUF_OWN), again = BUF_INIT(BUF_OWN), text_again = BUF_INIT(BUF_OWN);

    (void)state;
    struct settings *s = parse(text, &out), *same;
    assert_string_equal(buf_str(&out), "");
    assert_non_null(s);
    assert_int_equal(s->nroutes, 3);
    assert_string_equal(s->routes[0].to, "bank.example");
    assert_null(s->routes[0].from);
    assert_null(s->routes[0].host);
    assert_int_equal(s->routes[0].tls, ROUTE_TLS_REQUIRED);
    assert_string_equal(s->routes[1].from, "example.net");
    assert_string_equal(s->routes[1].host, "192.0.2.1");
    assert_int_equal(s->routes[1].port, 2525);
    assert_int_equal(s->routes[1].tls, ROUTE_TLS_NONE);
    assert_int_equal(s->routes[2].port, 0);
    assert_int_equal(s->routes[2].tls, ROUTE_TLS_IMPLICIT);
    assert_string_equal(s->routes[2].user, "a@b");
    assert_string_equal(s->routes[2].password_file, "/p");
    assert_int_equal(s->nbackups, 2);
    assert_string_equal(s->backups[1].domain, "xn--bcher-kva.example");
    /* what differs is shown so that it may be written: the same comes of it */
    settings_diff(s, &out);
    for (struct slice rest = buf_slice(&out), line; slice_cut(&rest, '\n', &line);) {
        buf_add(&text_again, line);
        buf_add_str(&text_again, ";\n");
    }
    same = parse(buf_str(&text_again), &again);
    assert_string_equal(buf_str(&again), "");
    assert_non_null(same);
    settings_diff(same, &again);
    assert_string_equal(buf_str(&again), buf_str(&out));
    settings_free(same);
    settings_free(s);
    buf_free(&text_again);
    buf_free(&again);
    buf_free(&out);
}

/* Without the setting the machine's name is taken, if it is a full one. */
static void test_own_name(void **state)
{
    struct buf out = BUF_INIT(BUF_OWN);
    char name[256] = "";

    (void)state;
    assert_int_equal(gethostname(name, sizeof(name) - 1), 0);
    struct settings *s = parse("", &out);
    if (s != NULL) {
        assert_string_equal(s->hostname, name);
    } else {
        char wants[512];
        snprintf(wants, sizeof(wants),
            "c:1: hostname is not set and the machine's own name (%s) is no full one; write hostname = "
            "\"mail.example.org\";\n",
            name);
        assert_string_equal(buf_str(&out), wants);
    }
    settings_free(s);
    buf_free(&out);
}

static struct settings *load_from_source(const char *name, struct buf *out)
{
    const char *dir = getenv("srcdir");
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", dir != NULL ? dir : ".", name);
    return settings_load(path, out);
}

static void test_example(void **state)
{
    struct buf out = BUF_INIT(BUF_OWN);

    (void)state;
    struct settings *s = load_from_source("etc/postamt.conf.example", &out);
    assert_string_equal(buf_str(&out), "");
    assert_non_null(s);
    settings_free(s);
    assert_null(load_from_source("etc/no-such-file", &out));
    assert_non_null(strstr(buf_str(&out), "etc/no-such-file:1: the file cannot be opened"));
    buf_free(&out);
}

/* The list in postamt.conf(5) is the table, word by word. */
static void test_man_page(void **state)
{
    const struct setting_row *rows;
    size_t n = settings_rows(&rows), shown = 0;
    const char *dir = getenv("srcdir");
    struct buf page = BUF_INIT(BUF_OWN), entry = BUF_INIT(BUF_OWN);

    (void)state;
    assert_int_equal(chdir(dir != NULL ? dir : "."), 0);
    assert_int_equal(fs_load(AT_FDCWD, "man/postamt.conf.5", &page, 1 << 20), 0);
    for (size_t i = 0; i < n; i++) {
        buf_clear(&entry);
        buf_printf(&entry, "\n.It Va %s\n.Pq %s%s%s\n%s.\n", rows[i].name, rows[i].type,
            rows[i].standard[0] != '\0' ? "; standard: " : "", rows[i].standard, rows[i].help);
        if (slice_find(buf_slice(&page), buf_slice(&entry)) < 0)
            fail_msg("man/postamt.conf.5 lacks:%s", buf_str(&entry));
    }
    for (struct slice rest = buf_slice(&page), line; slice_cut(&rest, '\n', &line);)
        shown += slice_starts(line, SLICE(".It Va "));
    assert_int_equal(shown, n);
    buf_free(&page);
    buf_free(&entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_nul_and_size),
        cmocka_unit_test(test_standards),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_own_name),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_man_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
