/* What the connections of each mode say. State 0 is always the greeting that has come. */
#include "bench/load.h"

#include <stdio.h>
#include <string.h>

static void say_wait(struct conn *c, enum wait_for wait, unsigned state)
{
    c->wait = wait;
    c->state = state;
}

static void end_session(struct conn *c, const char *words)
{
    load_say(c, "%s\r\n", words);
    say_wait(c, WAIT_CLOSE, 0);
}

static bool submits(const struct load *l)
{
    return strcmp(l->opt.mode, "submit") == 0;
}

/* Who writes: a stranger, or the account that the connection logs in as. */
static void author(const struct load *l, const struct conn *c, char *to, size_t cap)
{
    if (submits(l))
        snprintf(to, cap, "u%u@%s", l->opt.first_user + c->number % l->opt.users, l->opt.domain);
    else
        snprintf(to, cap, "sender%u@client.test", l->started % 97);
}

/* A message of about opt.size octets, CRLF, no line that begins with a dot or a tag. */
static size_t make_message(struct load *l, struct conn *c, char *to, size_t cap)
{
    static const char line[] =
        "Der Brief kam am Morgen, wie jeder andere, und lag bis zum Abend ungelesen da.\r\n";
    unsigned number = l->started;
    char from[128];
    author(l, c, from, sizeof(from));
    int n = snprintf(to, cap,
        "From: Absender <%s>\r\nTo: u%u@%s\r\nSubject: Figures, letter number %u\r\n"
        "Date: Mon, 02 Nov 2026 10:%02u:%02u +0100\r\nMessage-ID: <%u.%u.%llx@client.test>\r\nMIME-Version: "
        "1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
        "References: <1.%u@client.test> <2.%u@client.test>\r\n\r\n",
        from, c->user, l->opt.domain, number, number / 60 % 60, number % 60, c->number, number,
        (unsigned long long)c->random, number % 11, number % 7);
    size_t len = (size_t)n;
    while (len + sizeof(line) <= cap && len + sizeof(line) / 2 < l->opt.size) {
        memcpy(to + len, line, sizeof(line) - 1);
        len += sizeof(line) - 1;
    }
    return len;
}

static char text[LOAD_OUT - 4096];

static unsigned some_user(struct load *l, struct conn *c)
{
    return l->opt.first_user + load_random(c, l->opt.users);
}

/* AUTH PLAIN as the connection's author (RFC 4616). */
static void say_auth(struct load *l, struct conn *c)
{
    unsigned char plain[256], code[512];
    char from[128];

    author(l, c, from, sizeof(from));
    int n = snprintf((char *)plain, sizeof(plain), "%c%s%c%s", 0, from, 0, l->opt.password);
    EVP_EncodeBlock(code, plain, n < (int)sizeof(plain) ? n : 0);
    load_say(c, "AUTH PLAIN %s\r\n", code);
}

static void say_envelope(struct load *l, struct conn *c)
{
    char from[128] = "sender@client.test";
    if (submits(l))
        author(l, c, from, sizeof(from));
    load_say(c, "MAIL FROM:<%s>\r\n", from);
    for (unsigned i = 0; i < l->opt.rcpts; i++) {
        unsigned user = l->opt.first_user + (c->user - l->opt.first_user + i) % l->opt.users;
        if (submits(l))
            load_say(c, "RCPT TO:<x%u.%u@d%u.test>\r\n", l->started, i, (l->started + i) % l->opt.places);
        else
            load_say(c, "RCPT TO:<u%u@%s>\r\n", user, l->opt.domain);
    }
    load_say(c, "DATA\r\n");
    c->replies = 2 + l->opt.rcpts;
}

/* SMTP: MAIL, RCPT and DATA in one packet as a relay sends them (RFC 2920 3.1), then the message. Mode
 * submit: for elsewhere, logged in when there is a password. */
static void next_smtp(struct load *l, struct conn *c)
{
    enum { GREETED, LOGIN_WANTED, EHLO_DONE, TEXT_WANTED, TEXT_DONE };
    c->replies = 1;
    switch (c->state) {
    case GREETED:
        load_say(c, "EHLO client.test\r\n");
        c->left = l->opt.per_session ? l->opt.per_session : UINT32_MAX;
        say_wait(c, WAIT_SMTP, submits(l) && *l->opt.password ? LOGIN_WANTED : EHLO_DONE);
        return;
    case LOGIN_WANTED:
        say_auth(l, c);
        say_wait(c, WAIT_SMTP, EHLO_DONE);
        return;
    case TEXT_WANTED:
        load_say_octets(c, text, make_message(l, c, text, sizeof(text)));
        load_say(c, ".\r\n");
        say_wait(c, WAIT_SMTP, TEXT_DONE);
        return;
    case TEXT_DONE:
        load_finished(l);
        c->left--;
        break;
    default:
        break;
    }
    if (c->left == 0 || !load_take(l)) {
        end_session(c, "QUIT");
        return;
    }
    c->user = some_user(l, c);
    say_envelope(l, c);
    say_wait(c, WAIT_SMTP, TEXT_WANTED);
}

static void say_login(struct load *l, struct conn *c)
{
    load_say(c, LOAD_TAG "LOGIN u%u@%s %s\r\n", c->user, l->opt.domain, l->opt.password);
}

/* IMAP: connect, LOGIN, LOGOUT. */
static void next_login(struct load *l, struct conn *c)
{
    if (c->state == 0) {
        if (!load_take(l)) {
            end_session(c, LOAD_TAG "LOGOUT");
            return;
        }
        c->user = some_user(l, c);
        say_login(l, c);
        say_wait(c, WAIT_TAG, 1);
        return;
    }
    load_finished(l);
    end_session(c, LOAD_TAG "LOGOUT");
}

/* POP3: connect, USER, PASS, STAT, QUIT. */
static void next_pop3(struct load *l, struct conn *c)
{
    switch (c->state) {
    case 0:
        if (!load_take(l)) {
            end_session(c, "QUIT");
            return;
        }
        c->user = some_user(l, c);
        load_say(c, "USER u%u@%s\r\n", c->user, l->opt.domain);
        break;
    case 1:
        load_say(c, "PASS %s\r\n", l->opt.password);
        break;
    case 2:
        load_say(c, "STAT\r\n");
        break;
    default:
        load_finished(l);
        end_session(c, "QUIT");
        return;
    }
    say_wait(c, WAIT_LINE, c->state + 1);
}

/* A literal without waiting (RFC 7888). */
static void say_append(struct load *l, struct conn *c)
{
    size_t n = make_message(l, c, text, sizeof(text));
    load_say(c, LOAD_TAG "APPEND INBOX (\\Seen) {%zu+}\r\n", n);
    load_say_octets(c, text, n);
    load_say(c, "\r\n");
}

/* The mixed load: a session is LOGIN, SELECT, per_session commands by lot, LOGOUT. */
static void say_by_lot(struct load *l, struct conn *c)
{
    uint32_t m = l->opt.messages;
    uint32_t n = 1 + load_random(c, m);
    uint32_t window = n + 9 < m ? n + 9 : m;
    uint32_t lot = load_random(c, 100);
    load_say(c, LOAD_TAG);
    if (lot < 10)
        load_say(c, "NOOP\r\n");
    else if (lot < 20)
        load_say(c, "STATUS INBOX (MESSAGES UNSEEN UIDNEXT)\r\n");
    else if (lot < 30)
        load_say(c, "LIST \"\" \"*\"\r\n");
    else if (lot < 45)
        load_say(c, "FETCH %u:%u (UID FLAGS ENVELOPE RFC822.SIZE)\r\n", n, window);
    else if (lot < 65)
        load_say(c, "FETCH %u BODY.PEEK[]\r\n", n);
    else if (lot < 80)
        load_say(c, "STORE %u %cFLAGS (\\Flagged)\r\n", n, lot & 1 ? '+' : '-');
    else if (lot < 90)
        load_say(c, "SEARCH UNSEEN SUBJECT \"number %u\"\r\n", n);
    else
        load_say(c, "UID FETCH 1:* (FLAGS)\r\n");
}

static void next_mixed(struct load *l, struct conn *c)
{
    enum { GREETED, LOGGED_IN, SELECTED, BETWEEN };
    if (c->state != GREETED)
        load_finished(l);
    if (!load_take(l)) {
        end_session(c, LOAD_TAG "LOGOUT");
        return;
    }
    switch (c->state) {
    case GREETED:
        /* no two connections share an account at a time */
        c->user = l->opt.first_user + c->number % l->opt.users;
        if (l->opt.per_session && l->opt.users > l->opt.conns)
            c->user += load_random(c, l->opt.users / l->opt.conns) * l->opt.conns;
        c->left = l->opt.per_session ? l->opt.per_session : UINT32_MAX;
        say_login(l, c);
        say_wait(c, WAIT_TAG, LOGGED_IN);
        return;
    case LOGGED_IN:
        load_say(c, LOAD_TAG "SELECT INBOX\r\n");
        say_wait(c, WAIT_TAG, SELECTED);
        return;
    default:
        if (c->left-- == 0) {
            load_finished(l);
            end_session(c, LOAD_TAG "LOGOUT");
            return;
        }
        say_by_lot(l, c);
        say_wait(c, WAIT_TAG, BETWEEN);
    }
}

/* Modes that log in, select and then do one thing again and again: turn() says it. */
static void next_in_inbox(struct load *l, struct conn *c, void (*turn)(struct load *l, struct conn *c))
{
    enum { GREETED, LOGGED_IN, SELECTED, BETWEEN };
    switch (c->state) {
    case GREETED:
        c->user = l->opt.first_user + c->number / l->opt.per_user % l->opt.users;
        say_login(l, c);
        say_wait(c, WAIT_TAG, LOGGED_IN);
        return;
    case LOGGED_IN:
        load_say(c, LOAD_TAG "SELECT INBOX\r\n");
        say_wait(c, WAIT_TAG, SELECTED);
        c->left = 0;
        return;
    case BETWEEN:
        load_finished(l);
        break;
    default:
        break;
    }
    if (!load_take(l)) {
        end_session(c, LOAD_TAG "LOGOUT");
        return;
    }
    c->left++;
    load_say(c, LOAD_TAG);
    turn(l, c);
    load_say(c, "\r\n");
    say_wait(c, WAIT_TAG, BETWEEN);
}

static void turn_fetch_one(struct load *l, struct conn *c)
{
    load_say(c, "FETCH %u BODY.PEEK[]", 1 + (c->left - 1) % l->opt.messages);
}

static void turn_fetch_bulk(struct load *l, struct conn *c)
{
    load_say(c, "FETCH 1:%u BODY.PEEK[]", l->opt.messages);
}

static void turn_flags(struct load *l, struct conn *c)
{
    load_say(c, "FETCH 1:%u FLAGS", l->opt.messages);
}

static void turn_envelope(struct load *l, struct conn *c)
{
    load_say(c, "FETCH 1:%u ENVELOPE", l->opt.messages);
}

static void turn_store(struct load *l, struct conn *c)
{
    unsigned turn = c->left - 1;
    load_say(c, "STORE %u %cFLAGS (\\Flagged)", 1 + turn % l->opt.messages,
        turn / l->opt.messages % 2 ? '-' : '+');
}

static void turn_noop(struct load *l, struct conn *c)
{
    (void)l;
    load_say(c, "NOOP");
}

static void next_fetch_one(struct load *l, struct conn *c)
{
    next_in_inbox(l, c, turn_fetch_one);
}

static void next_fetch_bulk(struct load *l, struct conn *c)
{
    next_in_inbox(l, c, turn_fetch_bulk);
}

static void next_flags(struct load *l, struct conn *c)
{
    next_in_inbox(l, c, turn_flags);
}

static void next_envelope(struct load *l, struct conn *c)
{
    next_in_inbox(l, c, turn_envelope);
}

static void next_store(struct load *l, struct conn *c)
{
    next_in_inbox(l, c, turn_store);
}

static void next_noop(struct load *l, struct conn *c)
{
    next_in_inbox(l, c, turn_noop);
}

static void next_append(struct load *l, struct conn *c)
{
    if (c->state == 0 || c->state == 1 || l->started >= l->opt.ops) {
        next_in_inbox(l, c, turn_noop);
        return;
    }
    if (c->state == 3)
        load_finished(l);
    load_take(l);
    say_append(l, c);
    say_wait(c, WAIT_TAG, 3);
}

/* Connect, LOGIN, SELECT, LOGOUT. */
static void next_session(struct load *l, struct conn *c)
{
    switch (c->state) {
    case 0:
    case 2:
        next_login(l, c);
        return;
    default:
        load_say(c, LOAD_TAG "SELECT INBOX\r\n");
        say_wait(c, WAIT_TAG, 2);
    }
}

/* POP3: one session, every message in turn. */
static void next_retr(struct load *l, struct conn *c)
{
    enum { GREETED, USER_SAID, PASS_SAID, BETWEEN };
    switch (c->state) {
    case GREETED:
        c->user = l->opt.first_user + c->number % l->opt.users;
        c->left = 0;
        load_say(c, "USER u%u@%s\r\n", c->user, l->opt.domain);
        say_wait(c, WAIT_LINE, USER_SAID);
        return;
    case USER_SAID:
        load_say(c, "PASS %s\r\n", l->opt.password);
        say_wait(c, WAIT_LINE, PASS_SAID);
        return;
    case BETWEEN:
        load_finished(l);
        break;
    default:
        break;
    }
    if (!load_take(l)) {
        end_session(c, "QUIT");
        return;
    }
    load_say(c, "RETR %u\r\n", 1 + c->left++ % l->opt.messages);
    say_wait(c, WAIT_DOT, BETWEEN);
}

/* Logged in, selected, in IDLE: the connection stays so. */
static void next_idle(struct load *l, struct conn *c)
{
    if (c->state < 2) {
        next_in_inbox(l, c, turn_noop);
        return;
    }
    if (c->state == 2) {
        load_say(c, LOAD_TAG "IDLE\r\n");
        say_wait(c, WAIT_PLUS, 3);
        return;
    }
    l->idle++;
    c->wait = WAIT_NEVER;
}

const struct mode load_modes[] = {
    {"smtp", next_smtp},
    {"submit", next_smtp},
    {"login", next_login},
    {"session", next_session},
    {"pop3", next_pop3},
    {"retr", next_retr},
    {"mixed", next_mixed},
    {"append", next_append},
    {"store", next_store},
    {"noop", next_noop},
    {"fetch-one", next_fetch_one},
    {"fetch-bulk", next_fetch_bulk},
    {"fetch-flags", next_flags},
    {"fetch-envelope", next_envelope},
    {"idle", next_idle},
    {NULL, NULL},
};
