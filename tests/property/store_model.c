/*
 * store_model: the store against a simple model, by several processes and by foreign programs.
 *
 *     store_model [--seed N] [--seeds N] [--steps M] [--processes P] [--seconds S] [--jobs J] [--free]
 * [--without CHECK,..]
 *                 [--where FOLDER] [-v]
 *
 * Seeds N, N+1, .. in lock-step (or all at once with --free), until so many are done or the time is over. A
 * seed that fails is told again with ever fewer steps; what is left is printed with the sentence that failed.
 */
#include "tests/property/model.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"

#define SHRINK_SECONDS 20

static const struct {
    const char *name;
    unsigned bit;
} check_names[] = {
    {"resync-others", CHECK_RESYNC_OTHERS},
    {"modseq-others", CHECK_MODSEQ_OTHERS},
    {"resync", CHECK_RESYNC},
    {"order", CHECK_ORDER},
    {"by-name", CHECK_BY_NAME},
    {"return", CHECK_RETURN},
    {"uidnext", CHECK_UIDNEXT},
};

struct run {
    uint64_t seed, seeds;
    unsigned steps, processes, jobs;
    double seconds;
    bool free, verbose;
    const char *where;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool without(const char *list)
{
    while (*list) {
        size_t n = strcspn(list, ","), found = 0;

        for (size_t i = 0; i < sizeof check_names / sizeof *check_names; i++)
            if (strlen(check_names[i].name) == n && memcmp(check_names[i].name, list, n) == 0) {
                checks &= ~check_names[i].bit;
                found = 1;
            }
        if (!found)
            return false;
        list += n + (list[n] == ',');
    }
    return true;
}

/* Leaves out ever smaller pieces as long as it goes on failing in the same way. */
static void shrink(const struct options *o, struct step *steps, size_t n)
{
    double end = now() + SHRINK_SECONDS;
    struct step *less = mem_alloc(n * sizeof *less);
    const char *kind = failure_kind;
    char sentence[sizeof failure];

    memcpy(sentence, failure, sizeof sentence);
    for (size_t piece = n / 2; piece > 0 && now() < end; piece /= 2)
        for (size_t from = 0; from < n && now() < end; from += piece) {
            bool any = false;

            memcpy(less, steps, n * sizeof *less);
            for (size_t i = from; i < from + piece && i < n; i++) {
                any |= less[i].kind != STEP_NONE;
                less[i].kind = STEP_NONE;
            }
            if (any && !lockstep_run(o, less, n, false) && failure_kind == kind) {
                memcpy(steps, less, n * sizeof *less);
                memcpy(sentence, failure, sizeof sentence);
            }
        }
    memcpy(failure, sentence, sizeof failure);
    free(less);
}

static bool one_seed(const struct run *r, uint64_t seed)
{
    struct options o = {.seed = seed,
        .steps = r->steps,
        .processes = r->processes ? r->processes : 1 + (unsigned)(seed % 4),
        .verbose = r->verbose,
        .where = r->where};
    struct step *steps;
    bool ok;

    if (r->free) {
        o.processes = r->processes ? r->processes : 2 + (unsigned)(seed % 4);
        ok = free_run(&o);
        if (!ok)
            printf("FAILED: seed %llu (--free --processes %u --steps %u): %s\n", (unsigned long long)seed,
                o.processes, o.steps, failure);
        return ok;
    }
    steps = mem_zalloc(r->steps, sizeof *steps);
    lockstep_make(&o, steps, r->steps);
    ok = lockstep_run(&o, steps, r->steps, r->verbose);
    if (!ok) {
        printf("FAILED: seed %llu (--processes %u --steps %u): %s\n", (unsigned long long)seed, o.processes,
            o.steps, failure);
        shrink(&o, steps, r->steps);
        printf("seed %llu, shorter: %s\n", (unsigned long long)seed, failure);
        for (size_t i = 0; i < r->steps; i++)
            if (steps[i].kind != STEP_NONE)
                lockstep_print(&steps[i], i);
    }
    free(steps);
    fflush(stdout);
    return ok;
}

struct sums {
    struct totals totals;
    uint64_t seeds, failures;
};

static void run_job(const struct run *r, unsigned job, double end, struct sums *sums)
{
    for (uint64_t i = job; i < r->seeds && now() < end && sums->failures < 5; i += r->jobs) {
        sums->failures += !one_seed(r, r->seed + i);
        sums->seeds++;
        sums->totals = totals;
    }
}

static bool run_all(const struct run *r)
{
    struct sums *sums =
        mmap(NULL, r->jobs * sizeof *sums, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sums all = {0};
    double begin = now(), end = begin + r->seconds;
    bool ok = sums != MAP_FAILED;

    for (unsigned job = 0; job < r->jobs && ok; job++) {
        fflush(NULL);
        if (fork() == 0) {
            run_job(r, job, end, &sums[job]);
            fflush(NULL);
            _exit(0);
        }
    }
    for (unsigned job = 0; job < r->jobs && ok; job++) {
        int status;

        if (wait(&status) < 0 || status != 0) {
            printf("FAILED: a job ended with status 0x%x\n", (unsigned)status);
            all.failures++;
        }
    }
    for (unsigned job = 0; job < r->jobs && ok; job++) {
        const struct totals *t = &sums[job].totals;

        all.seeds += sums[job].seeds;
        all.failures += sums[job].failures;
        all.totals.requests += t->requests;
        all.totals.messages += t->messages;
        all.totals.dumps += t->dumps;
        all.totals.resyncs += t->resyncs;
        all.totals.incomplete += t->incomplete;
        all.totals.renumbered += t->renumbered;
        all.totals.stale += t->stale;
        all.totals.fresh += t->fresh;
    }
    printf("%s: %llu seeds in %.1f s: %llu requests, %llu messages, %llu sights, %llu clients came back "
           "(%llu without "
           "history), %llu fresh processes, %llu messages got another UID on their way through new/, %llu "
           "changes that "
           "a process had not heard of; %llu findings\n",
        r->free ? "all at once" : "lock-step", (unsigned long long)all.seeds, now() - begin,
        (unsigned long long)all.totals.requests, (unsigned long long)all.totals.messages,
        (unsigned long long)all.totals.dumps, (unsigned long long)all.totals.resyncs,
        (unsigned long long)all.totals.incomplete, (unsigned long long)all.totals.fresh,
        (unsigned long long)all.totals.renumbered, (unsigned long long)all.totals.stale,
        (unsigned long long)all.failures);
    return ok && all.failures == 0 && all.seeds > 0;
}

static bool read_options(int argc, char **argv, struct run *r)
{
    static const struct option options[] = {{"seed", 1, NULL, 's'}, {"seeds", 1, NULL, 'n'},
        {"steps", 1, NULL, 'm'}, {"processes", 1, NULL, 'p'}, {"seconds", 1, NULL, 't'},
        {"jobs", 1, NULL, 'j'}, {"free", 0, NULL, 'f'}, {"without", 1, NULL, 'w'}, {"where", 1, NULL, 'd'},
        {NULL, 0, NULL, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "v", options, NULL)) != -1) {
        unsigned long n = optarg ? strtoul(optarg, NULL, 10) : 0;

        switch (c) {
        case 's':
            r->seed = n;
            r->seeds = r->seeds ? r->seeds : 1;
            break;
        case 'n':
            r->seeds = n;
            break;
        case 'm':
            r->steps = n ? (unsigned)n : 1;
            break;
        case 'p':
            r->processes = n > PROCESSES ? PROCESSES : (unsigned)n;
            break;
        case 't':
            r->seconds = (double)n;
            break;
        case 'j':
            r->jobs = n ? (unsigned)n : 1;
            break;
        case 'f':
            r->free = true;
            break;
        case 'd':
            r->where = optarg;
            break;
        case 'v':
            r->verbose = true;
            break;
        case 'w':
            if (without(optarg))
                break;
            fprintf(
                stderr, "checks: resync-others, modseq-others, resync, order, by-name, return, uidnext\n");
            return false;
        default:
            return false;
        }
    }
    if (!r->seeds)
        r->seeds = 300;
    if (r->seeds < r->jobs)
        r->jobs = (unsigned)r->seeds;
    return optind == argc;
}

int main(int argc, char **argv)
{
    struct run r = {.seed = 1, .steps = 120, .jobs = 2, .seconds = 1e9};

    /* memory is enough: what happens to files when the machine stops is another test's
     * (tests/faults/power.py) */
    r.where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    umask(077);
    if (!read_options(argc, argv, &r))
        return 2;
    return run_all(&r) ? 0 : 1;
}
