/*
 * The main() of a fuzz target where libFuzzer is not at hand: every compiler, every `make check`.
 *
 * Replays its seeds (arguments, or tests/fuzz/corpus/<topic> below $srcdir for a program fuzz_<topic>), then
 * gives simple random changes of them to the target for FUZZ_SECONDS (default 2) of processor time. The
 * changes follow from FUZZ_SEED (default 1), so a run can be had again. An input that brings the target down,
 * or keeps it for more than INPUT_SECONDS, is written to crash-<topic> in the current folder and named on
 * stderr. Inputs end where a page ends, so that an octet read behind them is noticed in plain builds too.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define INPUT_MAX 65536
#define INPUT_SECONDS 5
#define SEEDS_MAX 4096
#define CHANGES_MAX 8 /* of one seed at once */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

/* Sanitizers: end by a signal, so that the input is kept. common/sandbox.c has its own where it is linked. */
const char *__asan_default_options(void) __attribute__((weak));
const char *__ubsan_default_options(void) __attribute__((weak));

const char *__asan_default_options(void)
{
    return "abort_on_error=1";
}

const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}

struct seed {
    uint8_t *data;
    size_t size;
};

static struct seed seeds[SEEDS_MAX];
static size_t nseeds;
static uint8_t *page_end; /* behind it lies memory that cannot be read */
static uint8_t *current;  /* what the target has now */
static size_t current_size;
static char crash_file[256];
static uint64_t random_state;

/* --- when it goes wrong --- */

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(1);
}

static void on_crash(int sig)
{
    int fd = open(crash_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    say(sig == SIGALRM ? "\nfuzz: too slow; the input is in " : "\nfuzz: failed; the input is in ");
    if (fd < 0 || write(fd, current, current_size) != (ssize_t)current_size)
        say("(it cannot be written) ");
    say(crash_file);
    say("\n");
    if (sig == SIGALRM)
        _exit(1);
    raise(sig); /* SA_RESETHAND: the default now */
}

static void catch_crashes(void)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGALRM};
    static char stack_memory[1 << 16]; /* the target's may be used up */
    stack_t stack = {.ss_sp = stack_memory, .ss_size = sizeof stack_memory};
    struct sigaction act = {
        .sa_handler = on_crash, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER | SA_ONSTACK)};

    if (sigaltstack(&stack, NULL) < 0)
        say("fuzz: no signal stack\n");
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &act, NULL);
}

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "fuzz: %s: %s: %s\n", what, name, strerror(errno));
    exit(99);
}

/* --- one input --- */

static void make_pages(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *p = mmap(NULL, INPUT_MAX + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED || mprotect(p + INPUT_MAX, page, PROT_NONE) < 0)
        fail("memory", "pages");
    page_end = p + INPUT_MAX;
}

static void try(const uint8_t *data, size_t size)
{
    struct itimerval limit = {.it_value = {.tv_sec = INPUT_SECONDS}}, none = {0};

    current = page_end - size;
    current_size = size;
    memcpy(current, data, size);
    setitimer(ITIMER_REAL, &limit, NULL);
    LLVMFuzzerTestOneInput(current, size);
    setitimer(ITIMER_REAL, &none, NULL);
}

/* --- seeds --- */

static void add_seed(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    struct seed *s = &seeds[nseeds];

    if (fd < 0 || fstat(fd, &st) < 0)
        fail("cannot read", path);
    if (!S_ISREG(st.st_mode) || nseeds == SEEDS_MAX) {
        close(fd);
        return;
    }
    s->size = st.st_size > INPUT_MAX ? INPUT_MAX : (size_t)st.st_size;
    s->data = malloc(s->size + 1);
    if (!s->data || read(fd, s->data, s->size) != (ssize_t)s->size)
        fail("cannot read", path);
    close(fd);
    nseeds++;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* A file, or a folder's files in the order of their names. */
static void add_seeds(const char *path)
{
    struct dirent **list;
    int n = scandir(path, &list, NULL, by_name);

    if (n < 0 && errno == ENOTDIR) {
        add_seed(path);
        return;
    }
    if (n < 0)
        fail("cannot read", path);
    for (int i = 0; i < n; i++) {
        char file[PATH_MAX];

        if (list[i]->d_name[0] != '.' &&
            (size_t)snprintf(file, sizeof file, "%s/%s", path, list[i]->d_name) < sizeof file)
            add_seed(file);
        free(list[i]);
    }
    free(list);
}

/* --- changes --- */

static uint64_t random_below(uint64_t n) /* xorshift64*, good enough to pick places */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return n ? (random_state * 0x2545f4914f6cdd1dULL >> 16) % n : 0;
}

/* Octets that mean something to one or the other parser. */
static uint8_t odd_octet(void)
{
    static const uint8_t odd[] = "\0\r\n\t \"\\(){}[]<>*%+-.,:;=?/@&!~0129azAZ\x7f\x80\xc3\xbf\xe2\xff";

    return random_below(3) ? odd[random_below(sizeof odd - 1)] : (uint8_t)random_below(256);
}

/* Puts n octets of `from` at `at`, in place of `drop` octets there. `from` may not lie in data. */
static size_t put_piece(uint8_t *data, size_t size, size_t at, size_t drop, const uint8_t *from, size_t n)
{
    if (at > size)
        at = size;
    if (drop > size - at)
        drop = size - at;
    if (n > INPUT_MAX - (size - drop))
        n = INPUT_MAX - (size - drop);
    memmove(data + at + n, data + at + drop, size - at - drop);
    memcpy(data + at, from, n);
    return size - drop + n;
}

static size_t change(uint8_t *data, size_t size)
{
    static uint8_t piece[INPUT_MAX];
    size_t at = random_below(size + 1), n = random_below(1u << random_below(8));
    const struct seed *other = &seeds[random_below(nseeds)];

    switch (random_below(8)) {
    case 0: /* one bit */
        if (at < size)
            data[at] ^= (uint8_t)(1u << random_below(8));
        return size;
    case 1: /* one octet */
        if (at < size)
            data[at] = odd_octet();
        return size;
    case 2: /* some more */
        n = 1 + random_below(4);
        for (size_t i = 0; i < n; i++)
            piece[i] = odd_octet();
        return put_piece(data, size, at, 0, piece, n);
    case 3: /* some less */
        return put_piece(data, size, at, n, piece, 0);
    case 4: /* a piece of another seed */
        if (other->size) {
            size_t from = random_below(other->size);

            return put_piece(data, size, at, random_below(2) * n, other->data + from,
                random_below(other->size - from) + 1);
        }
        return size;
    case 5: /* a piece again */
        if (at < size) {
            n = n < size - at ? n : size - at;
            memcpy(piece, data + at, n);
            return put_piece(data, size, random_below(size), 0, piece, n);
        }
        return size;
    case 6: /* one octet many times */
        memset(piece, odd_octet(), n);
        return put_piece(data, size, at, 0, piece, n);
    default: /* the end is missing */
        return random_below(4) ? size : at;
    }
}

static double processor_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static unsigned long run_changes(double seconds)
{
    static uint8_t data[INPUT_MAX];
    double end = processor_seconds() + seconds;
    unsigned long runs = 0;

    for (; nseeds && processor_seconds() < end; runs++) {
        const struct seed *s = &seeds[random_below(nseeds)];
        size_t size = s->size, n = 1 + random_below(CHANGES_MAX);

        memcpy(data, s->data, size);
        while (n-- > 0)
            size = change(data, size);
        try(data, size);
    }
    return runs;
}

int main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    const char *seconds = getenv("FUZZ_SECONDS"), *seed = getenv("FUZZ_SEED"), *top = getenv("srcdir");
    char corpus[PATH_MAX];
    unsigned long runs;

    if (strncmp(name, "fuzz_", 5) == 0)
        name += 5;
    snprintf(crash_file, sizeof crash_file, "crash-%s", name);
    random_state = seed && strtoull(seed, NULL, 10) ? strtoull(seed, NULL, 10) : 1;
    make_pages();
    catch_crashes();
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    if (argc < 2) {
        snprintf(corpus, sizeof corpus, "%s/tests/fuzz/corpus/%s", top ? top : ".", name);
        add_seeds(corpus);
    }
    for (int i = 1; i < argc; i++)
        add_seeds(argv[i]);
    if (!nseeds) {
        fprintf(stderr, "fuzz: %s has no seeds\n", name);
        return 99;
    }
    for (size_t i = 0; i < nseeds; i++)
        try(seeds[i].data, seeds[i].size);
    runs = run_changes(seconds ? strtod(seconds, NULL) : 2);
    printf("fuzz: %s: %zu seeds, %lu changes of them, nothing found\n", name, nseeds, runs);
    return 0;
}
