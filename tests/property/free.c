/*
 * All processes at once, each by itself, some killed in the middle of what they do; what they tried and what
 * was acknowledged is in shared memory. At rest all of it must fit, and all processes must show the same.
 */
#include "tests/property/model.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/mem.h"
#include "store/name.h"

#define FREE_BOXES 3
#define UIDS 65536
#define SIGHTS 24 /* clients that saw a mailbox somewhere in the middle */
#define SIGHT_ITEMS 3000
#define NAMES 8192

struct sight {
    _Atomic int ready;
    int process;
    struct answer a;
    struct item items[SIGHT_ITEMS];
};

struct ledger {
    _Atomic int failed, go_to_rest, at_rest;
    char failure[600];
    _Atomic unsigned char deleted[FREE_BOXES][UIDS]; /* somebody tried to */
    _Atomic unsigned char gone[FREE_BOXES][UIDS];    /* and was told that it is done */
    _Atomic unsigned char given[FREE_BOXES][UIDS];   /* told as the UID of something new */
    _Atomic uint64_t bound[FREE_BOXES][UIDS];        /* hash of the unique part */
    _Atomic uint64_t tried[NAMES]; /* hashes of unique parts somebody tried to delete or move */
    _Atomic uint64_t delivered[NAMES];
    _Atomic unsigned ntried, ndelivered;
    _Atomic uint64_t requests, sights_checked;
    struct sight sights[SIGHTS];
    struct sight last[PROCESSES + 1][FREE_BOXES];
    uint32_t uidvalidity[FREE_BOXES];
};

static struct ledger *shared;
static const char *const names[FREE_BOXES] = {"INBOX", "A", "B"};

struct runner {
    const struct options *o;
    struct tree *tree;
    struct worker *w;
    unsigned number;
    uint64_t random;
    struct client last[FREE_BOXES];
    struct answer a, gone;
    struct item *items, *vanished;
};

/* The first one's sentence is kept; the others see that it is over. */
static void publish_failure(void)
{
    if (failed() && atomic_exchange(&shared->failed, 1) == 0)
        memcpy(shared->failure, failure, sizeof failure);
}

static uint64_t hash_of(const char *unique)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (const char *p = unique; *p; p++)
        h = (h ^ (unsigned char)*p) * 0x100000001b3u;
    return h ? h : 1;
}

static void bind_uid(unsigned box, uint32_t uid, const char *unique)
{
    uint64_t none = 0, hash = hash_of(unique);

    if (uid >= UIDS)
        fail("UID %u of %s is out of all proportion", uid, names[box]);
    else if (!atomic_compare_exchange_strong(&shared->bound[box][uid], &none, hash) && none != hash)
        fail("UID %u of %s means two messages, one is %s", uid, names[box], unique);
}

static void try_to_delete(unsigned box, uint32_t uid, const char *unique)
{
    unsigned i = atomic_fetch_add(&shared->ntried, 1);

    if (uid < UIDS)
        atomic_store(&shared->deleted[box][uid], 1);
    if (i < NAMES)
        atomic_store(&shared->tried[i], hash_of(unique));
}

static void new_uid(unsigned box, uint32_t uid)
{
    if (uid < UIDS && atomic_exchange(&shared->given[box][uid], 1))
        fail("UID %u of %s was told twice as that of something new", uid, names[box]);
}

/* --- one process --- */

static bool run_request(struct runner *r, struct request *q, unsigned box)
{
    q->box = box;
    snprintf(q->name, sizeof q->name, "%s", names[box]);
    worker_do(r->w, q, &r->a, r->items);
    atomic_fetch_add(&shared->requests, 1);
    if (r->a.rc == -2)
        fail("process %u, a session: %s", r->number, r->a.why);
    else if (r->a.rc < 0 && r->a.code != ERR_EXPUNGED &&
             !(r->a.code == ERR_UNAVAILABLE && strstr(r->a.why, "all the time")))
        fail("process %u, request %d: error %d (%s)", r->number, (int)q->what, r->a.code, r->a.why);
    return r->a.rc == 0 && !failed();
}

static bool has_item(const struct client *c, uint32_t uid)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (c->items[i].uid == uid)
            return true;
    return false;
}

static void ask_vanished(struct runner *r, unsigned box, struct client *c, const char *who)
{
    struct request q = {.what = DO_VANISHED, .box = box, .since = c->modseq};

    snprintf(q.name, sizeof q.name, "%s", names[box]);
    worker_do(r->w, &q, &r->gone, r->vanished);
    check_resync(c, &r->a, r->items, &r->gone, r->vanished, who);
}

static void check_sight(struct runner *r, unsigned box)
{
    struct client *last = &r->last[box];
    char who[40];

    snprintf(who, sizeof who, "process %u, %s", r->number, names[box]);
    for (uint32_t i = 0; i < r->a.n && !failed(); i++) {
        bind_uid(box, r->items[i].uid, r->items[i].unique);
        if (r->items[i].modseq > r->a.modseq)
            fail("%s: UID %u has a MODSEQ above the highest", who, r->items[i].uid);
        if ((checks & CHECK_ORDER) && last->n && r->items[i].uid < last->items[last->n - 1].uid &&
            !has_item(last, r->items[i].uid))
            fail("%s: UID %u is new, UID %u was there before", who, r->items[i].uid,
                last->items[last->n - 1].uid);
    }
    for (uint32_t i = 0, j = 0; last->used && i < last->n && !failed(); i++) {
        uint32_t uid = last->items[i].uid;

        while (j < r->a.n && r->items[j].uid < uid)
            j++;
        if ((j == r->a.n || r->items[j].uid != uid) && uid < UIDS && !shared->deleted[box][uid])
            fail("%s: UID %u is taken for deleted, nobody did that", who, uid);
    }
    if (last->used && (checks & CHECK_RESYNC) && !failed())
        ask_vanished(r, box, last, who);
}

static void look_around(struct runner *r, unsigned box)
{
    struct request refresh = {.what = DO_REFRESH}, dump = {.what = DO_DUMP};
    struct sight *sight = &shared->sights[random_next(&r->random) % SIGHTS];
    int free_slot = 0;

    if (!run_request(r, &refresh, box) || !run_request(r, &dump, box))
        return;
    check_sight(r, box);
    client_take(&r->last[box], &r->a, r->items, (int)r->number, 0);
    if (random_next(&r->random) % 4 == 0 && r->a.n <= SIGHT_ITEMS &&
        atomic_compare_exchange_strong(&sight->ready, &free_slot, 1)) {
        sight->process = (int)r->number;
        sight->a = r->a;
        sight->a.code = (int)box;
        memcpy(sight->items, r->items, r->a.n * sizeof *r->items);
        atomic_store(&sight->ready, 2);
    }
}

static void remove_or_copy(struct runner *r, unsigned box, unsigned to, unsigned how)
{
    struct request dump = {.what = DO_DUMP}, q = {.what = how == 0 ? DO_EXPUNGE : DO_COPY};
    struct item it;

    if (!run_request(r, &dump, box) || r->a.n == 0)
        return;
    it = r->items[random_next(&r->random) % r->a.n];
    q.since = it.uid;
    q.n[1] = 1;
    q.n[2] = how == 2;
    snprintf(q.to, sizeof q.to, "%s", names[to]);
    if (how != 1)
        try_to_delete(box, it.uid, it.unique);
    if (!run_request(r, &q, box) || r->a.n == 0 || it.uid >= UIDS)
        return;
    /* one that was not found had no copy made, or was not counted: it may be there */
    if (how == 0 ? r->a.changed : how == 2 && r->items[0].other)
        atomic_store(&shared->gone[box][it.uid], 1);
    if (how > 0 && r->items[0].other)
        new_uid(to, r->items[0].other);
}

static void deliver(struct runner *r)
{
    struct request q = {.what = DO_DELIVER};
    unsigned i;

    if (run_request(r, &q, 0) && (i = atomic_fetch_add(&shared->ndelivered, 1)) < NAMES)
        atomic_store(&shared->delivered[i], hash_of(r->items[0].unique));
}

static void act(struct runner *r)
{
    uint32_t dice = (uint32_t)(random_next(&r->random) % 100);
    unsigned box = (unsigned)(random_next(&r->random) % FREE_BOXES),
             to = (unsigned)(random_next(&r->random) % FREE_BOXES);
    struct request q = {.n = {(uint32_t)random_next(&r->random), (uint32_t)(random_next(&r->random) % 3)}};

    if (dice < 12) {
        q.what = DO_APPEND;
        q.n[2] = q.n[0] & SYSTEM_FLAGS;
        if (run_request(r, &q, box))
            new_uid(box, r->a.uid);
    } else if (dice < 20) {
        deliver(r);
    } else if (dice < 50) {
        q.what = DO_FLAG;
        q.n[2] = (uint32_t)random_next(&r->random) & SYSTEM_FLAGS;
        q.n[3] = dice < 30 ? 1u << dice % KEYWORDS : 0;
        run_request(r, &q, box);
    } else if (dice < 62) {
        remove_or_copy(r, box, to, dice % 3);
    } else if (dice < 80) {
        q = (struct request){.what = DO_SYNC, .session = dice, .n = {1, dice % 3}};
        run_request(r, &q, box);
    } else if (dice < 83) {
        q.what = DO_CLOSE;
        run_request(r, &q, box);
        client_free(&r->last[box]);
    } else if (dice < 85) {
        q.what = DO_STATUS;
        run_request(r, &q, box);
    } else {
        look_around(r, box);
    }
}

static void nap(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

/* The last sight: everything that happened is in it, and every client of the middle comes out right. */
static void rest(struct runner *r)
{
    struct request refresh = {.what = DO_REFRESH}, dump = {.what = DO_DUMP, .n = {0, 1}};

    for (int round = 0; round < 2; round++) {
        nap(80);
        for (unsigned box = 0; box < FREE_BOXES && !failed(); box++) {
            struct sight *mine = &shared->last[r->number][box];

            if (!run_request(r, &refresh, box) || round == 0 || !run_request(r, &dump, box))
                continue;
            check_sight(r, box);
            for (size_t i = 0; i < SIGHTS && !failed(); i++) {
                struct sight *s = &shared->sights[i];
                struct client c = {.used = true,
                    .uidvalidity = s->a.uidvalidity,
                    .modseq = s->a.modseq,
                    .n = s->a.n,
                    .items = s->items,
                    .from = s->process};

                if (atomic_load(&s->ready) != 2 || s->a.code != (int)box || !(checks & CHECK_RESYNC_OTHERS))
                    continue;
                ask_vanished(r, box, &c, "at rest");
                atomic_fetch_add(&shared->sights_checked, 1);
            }
            mine->a = r->a;
            memcpy(mine->items, r->items, (r->a.n < SIGHT_ITEMS ? r->a.n : SIGHT_ITEMS) * sizeof *r->items);
            atomic_store(&mine->ready, 1);
        }
    }
}

static void run_one(const struct options *o, struct tree *tree, unsigned number, unsigned life)
{
    struct runner r = {
        .o = o, .tree = tree, .number = number, .random = o->seed * 1000003u + number * 97u + life};

    worker_quiet(tree->top);
    failure[0] = 0;
    r.items = mem_zalloc(ITEMS_MAX, sizeof *r.items);
    r.vanished = mem_zalloc(ITEMS_MAX, sizeof *r.vanished);
    r.w = worker_new(tree->top);
    while (
        !atomic_load(&shared->go_to_rest) && !atomic_load(&shared->failed) && !failed() && number < PROCESSES)
        act(&r);
    if (!failed() && !atomic_load(&shared->failed)) {
        atomic_fetch_add(&shared->at_rest, 1);
        while (number < PROCESSES && (unsigned)atomic_load(&shared->at_rest) < o->processes + 1 &&
               !atomic_load(&shared->failed))
            nap(2);
        rest(&r);
    }
    publish_failure();
    worker_free(r.w);
    for (unsigned box = 0; box < FREE_BOXES; box++)
        client_free(&r.last[box]);
    free(r.items);
    free(r.vanished);
    _exit(0);
}

/* --- a foreign program --- */

static void foreign(const struct options *o, struct tree *tree)
{
    uint64_t random = o->seed ^ 0xf0f0f0f0u;
    struct file *files = mem_zalloc(SIGHT_ITEMS, sizeof *files);
    unsigned count = 0;

    while (!atomic_load(&shared->go_to_rest) && !atomic_load(&shared->failed)) {
        unsigned box = (unsigned)(random_next(&random) % FREE_BOXES),
                 dice = (unsigned)(random_next(&random) % 100);
        size_t n = tree_list(tree, names[box], shared->uidvalidity[box], files, SIGHT_ITEMS);
        struct file *f = n ? &files[random_next(&random) % n] : NULL;
        char name[80];

        if (f && dice < 85) {
            if (f->uid)
                tree_set_flags(tree, names[box], f, f->flags ^ (1u << dice % 6));
        } else if (f && dice < 90) {
            snprintf(name, sizeof name, "%.*s", (int)strcspn(f->name, ",:"), f->name);
            try_to_delete(box, f->uid, name);
            tree_delete(tree, names[box], f);
        } else if (dice < 96) {
            snprintf(name, sizeof name, "1600000000.F%u.foreign%s", ++count, dice % 2 ? ":2,S" : "");
            tree_add(tree, names[box], name, dice % 2 == 0, count, 0);
        } else {
            tree_touch_now(tree, names[box]);
        }
        nap(1);
    }
    atomic_fetch_add(&shared->at_rest, 1);
    free(files);
    _exit(0);
}

/* --- the parent --- */

static const struct item *find_uid(const struct sight *s, uint32_t uid)
{
    for (uint32_t i = 0; i < s->a.n; i++)
        if (s->items[i].uid == uid)
            return &s->items[i];
    return NULL;
}

static void compare(const struct sight *fresh, const struct sight *old, unsigned process, unsigned box)
{
    if (!atomic_load(&old->ready)) {
        fail("process %u did not come to rest with %s", process, names[box]);
        return;
    }
    if (old->a.n != fresh->a.n || old->a.uidvalidity != fresh->a.uidvalidity)
        fail("%s has %u messages for process %u, %u for a fresh one", names[box], old->a.n, process,
            fresh->a.n);
    for (uint32_t i = 0; i < old->a.n && !failed(); i++) {
        const struct item *a = &old->items[i], *b = &fresh->items[i];

        if (a->uid != b->uid || a->flags != b->flags || a->keywords != b->keywords ||
            a->received != b->received)
            fail("%s: UID %u flags 0x%x for process %u, UID %u flags 0x%x for a fresh one", names[box],
                a->uid, a->flags | a->keywords << 8, process, b->uid, b->flags | b->keywords << 8);
    }
}

static bool was_tried(uint64_t hash)
{
    for (unsigned i = 0; i < shared->ntried && i < NAMES; i++)
        if (shared->tried[i] == hash)
            return true;
    return false;
}

static void audit(const struct options *o)
{
    const struct sight *fresh = shared->last[PROCESSES];

    for (unsigned box = 0; box < FREE_BOXES && !failed(); box++) {
        for (unsigned p = 0; p < o->processes; p++)
            compare(&fresh[box], &shared->last[p][box], p, box);
        for (uint32_t uid = 1; uid < UIDS && !failed(); uid++) {
            bool is = find_uid(&fresh[box], uid) != NULL;

            if (shared->given[box][uid] && !shared->deleted[box][uid] && !is)
                fail("UID %u of %s was acknowledged and is lost", uid, names[box]);
            if (shared->gone[box][uid] && is)
                fail("UID %u of %s was expunged and is there", uid, names[box]);
        }
        totals.messages += fresh[box].a.n;
    }
    for (unsigned i = 0; i < shared->ndelivered && i < NAMES && !failed(); i++) {
        unsigned copies = 0;

        for (unsigned box = 0; box < FREE_BOXES; box++)
            for (uint32_t k = 0; k < fresh[box].a.n; k++)
                copies += hash_of(fresh[box].items[k].unique) == shared->delivered[i];
        if (copies != 1 && !was_tried(shared->delivered[i]))
            fail("the %u-th delivery is there %u times", i, copies);
    }
}

static void prepare(const struct options *o, struct tree *tree)
{
    struct item *items = mem_zalloc(ITEMS_MAX, sizeof *items);
    pid_t pid;
    int status;

    /* in a process of its own: nothing of it stays with those who come */
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct worker *w;
        struct answer a;

        worker_quiet(tree->top);
        w = worker_new(tree->top);
        for (unsigned box = 0; box < FREE_BOXES; box++) {
            struct request r = {.what = DO_CREATE, .box = box};

            snprintf(r.name, sizeof r.name, "%s", names[box]);
            if (box)
                worker_do(w, &r, &a, items);
            r.what = DO_APPEND;
            for (unsigned i = 0; i < 20 + o->seed % 50; i++)
                worker_do(w, &r, &a, items);
            r.what = DO_REFRESH;
            worker_do(w, &r, &a, items);
            shared->uidvalidity[box] = a.uidvalidity;
        }
        worker_free(w);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    free(items);
}

static pid_t start(const struct options *o, struct tree *tree, unsigned number, unsigned life)
{
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        if (number == PROCESSES + 1)
            foreign(o, tree);
        run_one(o, tree, number, life);
    }
    return pid;
}

static void wait_for(pid_t pid, unsigned number)
{
    int status = 0;

    for (int i = 0; i < 3000; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            if (status)
                fail("process %u ended with status 0x%x", number, (unsigned)status);
            return;
        }
        nap(10);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    fail("process %u hangs", number);
}

bool free_run(const struct options *o)
{
    struct tree tree = {0};
    pid_t pids[PROCESSES] = {0}, outsider, last;
    uint64_t random = o->seed;
    unsigned life = 0;

    failure[0] = 0;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !tree_make(&tree, o->where)) {
        fail("no memory or no folder");
        return false;
    }
    prepare(o, &tree);
    for (unsigned p = 0; p < o->processes; p++)
        pids[p] = start(o, &tree, p, life);
    outsider = start(o, &tree, PROCESSES + 1, 0);
    for (unsigned i = 0; i < o->steps && !atomic_load(&shared->failed); i++) {
        unsigned victim = (unsigned)(random_next(&random) % o->processes);

        nap(10);
        if (random_next(&random) % 8 == 0) {
            kill(pids[victim], SIGKILL);
            waitpid(pids[victim], NULL, 0);
            pids[victim] = start(o, &tree, victim, ++life);
        }
    }
    atomic_store(&shared->go_to_rest, 1);
    for (unsigned p = 0; p < o->processes; p++)
        wait_for(pids[p], p);
    wait_for(outsider, PROCESSES + 1);
    if (!failed() && !atomic_load(&shared->failed)) {
        last = start(o, &tree, PROCESSES, 0);
        wait_for(last, PROCESSES);
    }
    if (atomic_load(&shared->failed))
        fail("%s", shared->failure);
    if (!failed())
        audit(o);
    if (failed() && o->verbose)
        tree_print_stderr(&tree);
    totals.requests += shared->requests;
    totals.resyncs += shared->sights_checked;
    munmap(shared, sizeof *shared);
    tree_remove(&tree);
    return !failed();
}
