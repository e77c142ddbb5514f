/* postamt: the administrator's command. man/postamt.1 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "admin/output.h"
#include "common/log.h"

static bool wants_colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

/* Whether we may read it is told apart from what is in it: the fix is another. */
static enum err_code check_readable(struct cli *c)
{
    if (access(c->config, R_OK) < 0 && errno == EACCES)
        return fault_set(&c->fault, ERR_NOT_PERMITTED, NULL, "you may not read %s", c->config);
    return ERR_OK;
}

static enum err_code run(struct cli *c, int argc, char **argv)
{
    enum err_code code = args_parse(&c->args, argc, argv, &c->fault);

    c->json = cli_flag(c, FLAG_JSON) != NULL;
    if (code != ERR_OK)
        return code;
    c->plain = cli_flag(c, FLAG_PLAIN) != NULL;
    c->colour = !c->json && !c->plain && wants_colour();
    c->config = cli_flag(c, FLAG_CONFIG) ? cli_flag(c, FLAG_CONFIG) : CLI_CONFIG;
    if (cli_flag(c, FLAG_HELP)) {
        verbs_help(c->args.noun, c->args.verb);
        return ERR_OK;
    }
    if (cli_flag(c, FLAG_VERSION) || !c->args.verb) {
        puts(PACKAGE_STRING);
        return ERR_OK;
    }
    code = check_readable(c);
    return code == ERR_OK ? c->args.verb->run(c) : code;
}

/* A closed stdin, stdout or stderr would be the number of the next file we open. */
static int open_standard(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    return fd < 0 ? -1 : close(fd);
}

int main(int argc, char **argv)
{
    static struct cli c;
    enum err_code code;

    if (open_standard() < 0)
        return 71;
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    tzset();
    log_set_level(LOG_LEVEL_ERROR); /* what a person has to know is said by the verbs */
    code = run(&c, argc, argv);
    if (code != ERR_OK)
        fault_show(&c.fault, c.json);
    settings_free(c.settings);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "postamt: stdout: %s\n", strerror(errno));
        return code == ERR_OK ? 75 : fault_exit(code);
    }
    return code == ERR_OK ? c.status : fault_exit(code);
}
