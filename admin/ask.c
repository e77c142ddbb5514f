#include "admin/ask.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "auth/password.h"
#include "common/mem.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    interrupted = sig;
}

/* One line of stdin without its end. Octet by octet: what follows belongs to whoever reads next. */
static enum err_code read_line(struct cli *c, const char *what, struct buf *out)
{
    *out = BUF_INIT(ASK_PASSWORD_MAX);
    /* all at once, so that no copy is left behind when it grows */
    INVARIANT(buf_room(out, ASK_PASSWORD_MAX));
    for (;;) {
        char ch;
        ssize_t n = read(STDIN_FILENO, &ch, 1);

        if (n < 0 && errno == EINTR && !interrupted)
            continue;
        if (n <= 0 || ch == '\n')
            break;
        buf_add_char(out, ch);
    }
    if (out->n && out->p[out->n - 1] == '\r')
        buf_cut(out, out->n - 1);
    if (interrupted)
        return fault_set(&c->fault, ERR_AUTH_CANCELLED, NULL, "interrupted; nothing was changed");
    if (out->full)
        return fault_set(&c->fault, ERR_SYNTAX, "use a shorter one", "the %s is longer than %d octets", what,
            ASK_PASSWORD_MAX);
    if (out->n == 0)
        return fault_set(&c->fault, ERR_SYNTAX, "give it as the first line of stdin, or at the prompt",
            "there is no %s", what);
    return ERR_OK;
}

void ask_wipe(struct buf *secret)
{
    if (secret->p)
        mem_wipe(secret->p, secret->size);
    buf_free(secret);
}

/* The terminal is put right again whatever ends the reading. */
static enum err_code read_hidden(struct cli *c, const char *prompt, struct buf *out)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    struct sigaction action = {.sa_handler = on_signal}, old[sizeof signals / sizeof *signals];
    struct termios shown, hidden;
    enum err_code code;

    if (tcgetattr(STDIN_FILENO, &shown) < 0)
        return fault_set(&c->fault, ERR_IO, NULL, "terminal: %s", strerror(errno));
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, &old[i]);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    fputs(prompt, stderr);
    code = read_line(c, "password", out);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &old[i], NULL);
    if (interrupted)
        raise(interrupted);
    return code;
}

static enum err_code prompt_password(struct cli *c, const char *address, bool twice, struct buf *out)
{
    char *prompt = mem_printf(twice ? "New password for %s: " : "Password of %s: ", address);
    struct buf again = {0};
    enum err_code code = read_hidden(c, prompt, out);

    if (code == ERR_OK && twice) {
        code = read_hidden(c, "The same again: ", &again);
        if (code == ERR_OK && !slice_eq(buf_slice(out), buf_slice(&again)))
            code = fault_set(
                &c->fault, ERR_SYNTAX, "try again, or use --generate", "the two passwords are not the same");
        ask_wipe(&again);
    }
    free(prompt);
    return code;
}

enum err_code ask_password(struct cli *c, const char *address, bool twice, struct buf *out)
{
    *out = (struct buf){0};
    if (cli_flag(c, FLAG_GENERATE)) {
        char made[24];

        *out = BUF_INIT(ASK_PASSWORD_MAX);
        password_generate(made);
        buf_add_str(out, made);
        mem_wipe(made, sizeof made);
        return ERR_OK;
    }
    if (isatty(STDIN_FILENO))
        return prompt_password(c, address, twice, out);
    return read_line(c, "password", out);
}

enum err_code ask_hash(struct cli *c, struct buf *out)
{
    if (isatty(STDIN_FILENO))
        fputs("crypt(3) hash: ", stderr);
    return read_line(c, "hash", out);
}

enum err_code ask_consent(struct cli *c, const char *question)
{
    struct buf answer = {0};
    enum err_code code;
    bool yes;

    if (cli_flag(c, FLAG_YES) || cli_flag(c, FLAG_DRY_RUN))
        return ERR_OK;
    if (!isatty(STDIN_FILENO))
        return fault_set(&c->fault, ERR_USAGE, "add --yes if it is meant, or --dry-run to try",
            "nobody is there to ask: %s", question);
    fprintf(stderr, "%s [y/N] ", question);
    code = read_line(c, "answer", &answer);
    yes = code == ERR_OK && (slice_eq_nocase(buf_slice(&answer), SLICE("y")) ||
                                slice_eq_nocase(buf_slice(&answer), SLICE("yes")));
    buf_free(&answer);
    if (yes)
        return ERR_OK;
    return fault_set(
        &c->fault, ERR_AUTH_CANCELLED, "answer y if it is meant", "not confirmed; nothing was changed");
}
