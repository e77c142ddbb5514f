/* One seed, told step by step: each step is one request to one process, or something a foreign program does.
 */
#include "tests/property/model.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/mem.h"
#include "store/name.h"

#define ANSWER_SECONDS 30
#define FILES_MAX 4096

enum kind {
    S_DELIVER,
    S_APPEND,
    S_FLAG,
    S_COPY,
    S_MOVE,
    S_EXPUNGE,
    S_OPEN,
    S_CLOSE,
    S_REFRESH,
    S_DUMP,
    S_SYNC,
    S_STATUS,
    S_FSYNC,
    S_ADOPT,
    S_CREATE,
    S_RENAME,
    S_DELETE,
    S_RESTART,
    S_LOSE,
    S_QUIET,
    F_FLAGS,
    F_DELETE,
    F_ADD,
    F_TOUCH,
    F_TO_NEW,
    F_COPY,
    F_TWICE,
    F_RETURN,
    F_MANY,
    KINDS
};
_Static_assert(KINDS == STEP_NONE, "the kind after the last one");

static const struct {
    const char *name;
    unsigned weight; /* of 1000 or so */
} kinds[KINDS] = {
    [S_DELIVER] = {"deliver", 60},
    [S_APPEND] = {"append", 90},
    [S_FLAG] = {"flag", 160},
    [S_COPY] = {"copy", 50},
    [S_MOVE] = {"move", 50},
    [S_EXPUNGE] = {"expunge", 50},
    [S_OPEN] = {"open", 20},
    [S_CLOSE] = {"close", 30},
    [S_REFRESH] = {"refresh", 60},
    [S_DUMP] = {"look", 60},
    [S_SYNC] = {"sync", 110},
    [S_STATUS] = {"status", 20},
    [S_FSYNC] = {"fsync", 10},
    [S_ADOPT] = {"adopt", 10},
    [S_CREATE] = {"create", 12},
    [S_RENAME] = {"rename", 12},
    [S_DELETE] = {"delete", 8},
    [S_RESTART] = {"restart", 20},
    [S_LOSE] = {"lose", 12},
    [S_QUIET] = {"quiet", 35},
    [F_FLAGS] = {"foreign flags", 50},
    [F_DELETE] = {"foreign deletion", 25},
    [F_ADD] = {"foreign addition", 25},
    [F_TOUCH] = {"touch", 10},
    [F_TO_NEW] = {"cur to new", 10},
    [F_COPY] = {"foreign copy", 10},
    [F_TWICE] = {"same name twice", 5},
    [F_RETURN] = {"foreign return", 15},
    [F_MANY] = {"300 foreign names", 1},
};

struct proc {
    pid_t pid; /* 0: none */
    int fd;
    struct client last[BOXES]; /* what it showed last */
    bool open[BOXES];
};

struct story {
    const struct options *o;
    struct tree tree;
    struct proc procs[PROCESSES + 1]; /* the last one: a fresh one that looks and goes */
    struct box boxes[BOXES];
    size_t nboxes;
    struct answer a, gone;
    struct item *items, *vanished;
    struct file *files, returned;
    uint32_t returned_box;
    unsigned at;
    uint32_t token;
    bool verbose;
    char who[80];
};

static void tell(struct story *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct story *s, const char *fmt, ...)
{
    va_list ap;

    if (!s->verbose)
        return;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

/* --- processes --- */

static void proc_start(struct story *s, size_t p)
{
    struct proc *proc = &s->procs[p];
    int pair[2];

    if (proc->pid)
        return;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        fail("socketpair");
        return;
    }
    fflush(NULL);
    proc->pid = fork();
    if (proc->pid == 0) {
        close(pair[0]);
        for (size_t i = 0; i <= PROCESSES; i++)
            if (i != p && s->procs[i].pid > 0)
                close(s->procs[i].fd);
        worker_serve(s->tree.top, pair[1]);
    }
    close(pair[1]);
    proc->fd = pair[0];
}

static void proc_ended(struct story *s, size_t p)
{
    struct proc *proc = &s->procs[p];

    close(proc->fd);
    proc->pid = 0;
    for (size_t i = 0; i < BOXES; i++) {
        client_free(&proc->last[i]);
        proc->open[i] = false;
        for (size_t c = 0; c < CLIENTS; c++)
            if (s->boxes[i].clients[c].from == (int)p)
                s->boxes[i].clients[c].from = -1;
    }
}

static bool receive(struct proc *proc, struct answer *a, struct item *items)
{
    struct pollfd wait = {.fd = proc->fd, .events = POLLIN};

    return poll(&wait, 1, ANSWER_SECONDS * 1000) == 1 && octets_read(proc->fd, a, sizeof *a) &&
           octets_read(proc->fd, items, a->n * sizeof *items);
}

static bool ask_into(struct story *s, size_t p, const struct request *r, struct answer *a, struct item *items)
{
    struct proc *proc = &s->procs[p];
    int status = 0;

    totals.requests++;
    proc_start(s, p);
    if (failed())
        return false;
    if (octets_write(proc->fd, r, sizeof *r) && receive(proc, a, items)) {
        if (r->box < s->nboxes && !s->boxes[r->box].uidvalidity && r->what != DO_COPY)
            s->boxes[r->box].uidvalidity = a->uidvalidity;
        if (a->rc == -2)
            fail("%s: a session of process %zu: %s", s->who, p, a->why);
        return a->rc != -2;
    }
    kill(proc->pid, SIGKILL);
    waitpid(proc->pid, &status, 0);
    if (s->verbose)
        tree_print_stderr(&s->tree);
    fail("%s: process %zu did not answer, it ended with status 0x%x", s->who, p, (unsigned)status);
    proc_ended(s, p);
    return false;
}

static struct request about(const struct box *b, const struct story *s, enum what what)
{
    struct request r = {.what = what, .box = (uint32_t)(b - s->boxes)};

    memcpy(r.name, b->name, sizeof r.name);
    return r;
}

/* False when the request failed, which is a failure of the seed. */
static bool ask(struct story *s, size_t p, const struct request *r)
{
    if (!ask_into(s, p, r, &s->a, s->items))
        return false;
    if (s->a.rc < 0)
        fail("%s: error %d (%s)", s->who, s->a.code, s->a.why);
    return !failed();
}

static void proc_end(struct story *s, size_t p, bool by_kill)
{
    struct proc *proc = &s->procs[p];
    struct request quit = {.what = DO_QUIT};
    int status;

    if (!proc->pid)
        return;
    if (by_kill)
        kill(proc->pid, SIGKILL);
    else if (!ask_into(s, p, &quit, &s->a, s->items))
        return;
    waitpid(proc->pid, &status, 0);
    if (!by_kill && status != 0)
        fail("process %zu ended with status 0x%x", p, status);
    proc_ended(s, p);
}

/* --- the model follows --- */

/* Another process gave a UID to names that we know without one. */
static void learn_from_disk(struct story *s, struct box *b)
{
    size_t n = tree_list(&s->tree, b->name, b->uidvalidity, s->files, FILES_MAX);

    for (size_t i = 0; i < n; i++) {
        struct item it = {.uid = s->files[i].uid};

        if (!it.uid)
            continue;
        snprintf(it.unique, sizeof it.unique, "%.*s", (int)strcspn(s->files[i].name, ",:"), s->files[i].name);
        box_bind(b, &it, "names");
    }
}

static struct file *file_of(struct story *s, struct box *b, const struct msg *m)
{
    size_t n = tree_list(&s->tree, b->name, b->uidvalidity, s->files, FILES_MAX);
    struct file *found = NULL;

    for (size_t i = 0; i < n; i++) {
        struct file *f = &s->files[i];
        size_t unique = strcspn(f->name, ",:");
        bool same = m->unique[0] && strlen(m->unique) == unique && memcmp(f->name, m->unique, unique) == 0;

        if (m->uid && f->uid == m->uid)
            return f;
        if (same && (f->uid == 0 || (m->uid == 0 && !box_by_uid(b, f->uid))))
            found = f;
    }
    return found;
}

/* The model's message of an item, unless something is wrong. */
static struct msg *there(struct story *s, struct box *b, const struct item *it)
{
    return failed() ? NULL : box_bind(b, it, s->who);
}

static uint32_t after(uint32_t now, uint32_t how, uint32_t change)
{
    return how == 0 ? now | change : how == 1 ? now & ~change : change;
}

static void step_flag(struct story *s, size_t p, struct box *b, const struct step *step)
{
    struct request r = about(b, s, DO_FLAG);
    struct msg *m;

    r.session = step->n[4];
    r.n[0] = step->n[0];
    r.n[1] = step->n[1] % 3;
    r.n[2] = step->n[2] & step->n[2] >> 8 & SYSTEM_FLAGS;
    r.n[3] = step->n[3] % 3 ? 0 : 1u << step->n[3] / 3 % KEYWORDS;
    if (!ask_into(s, p, &r, &s->a, s->items))
        return;
    if (s->a.rc < 0 && s->a.code != ERR_EXPUNGED)
        fail("%s: error %d (%s)", s->who, s->a.code, s->a.why);
    if (s->a.n == 0)
        return;
    m = there(s, b, &s->items[0]);
    if (!m)
        return;
    if (m->gone != (s->a.rc < 0) && !(m->gone && !s->a.changed))
        fail("%s: UID %u is %s, the answer was %d", s->who, m->uid, m->gone ? "gone" : "there", s->a.rc);
    if (s->a.rc < 0 || m->gone)
        return;
    if (!s->a.changed) { /* as far as this process knew, there was nothing to do */
        totals.stale +=
            after(m->flags, r.n[1], r.n[2]) != m->flags || after(m->keywords, r.n[1], r.n[3]) != m->keywords;
        return;
    }
    m->flags = after(m->flags, r.n[1], r.n[2]);
    m->keywords = after(m->keywords, r.n[1], r.n[3]);
    if (s->items[0].flags != m->flags || s->items[0].keywords != m->keywords)
        fail("%s: UID %u has flags 0x%x and keywords 0x%x now, not 0x%x and 0x%x", s->who, m->uid,
            s->items[0].flags, s->items[0].keywords, m->flags, m->keywords);
}

static void step_expunge(struct story *s, size_t p, struct box *b, const struct step *step)
{
    struct request r = about(b, s, DO_EXPUNGE);
    uint32_t were = 0;

    r.n[0] = step->n[0];
    r.n[1] = 1 + step->n[1] % 3;
    if (!ask(s, p, &r))
        return;
    for (uint32_t i = 0; i < s->a.n; i++) {
        struct msg *m = there(s, b, &s->items[i]);

        were += m && !m->gone;
        if (m)
            m->gone = true;
    }
    if (were != s->a.changed)
        fail("%s: %u messages were expunged, %u of them were there", s->who, s->a.changed, were);
}

static struct msg *add_with_uid(struct story *s, struct box *b, uint32_t uidvalidity, uint32_t uid)
{
    struct msg *m;

    if (!b->uidvalidity)
        b->uidvalidity = uidvalidity;
    if (b->uidvalidity != uidvalidity)
        fail("%s: went to a mailbox with UIDVALIDITY %u, %s has %u", s->who, uidvalidity, b->name,
            b->uidvalidity);
    if (uid == 0 || box_by_uid(b, uid))
        fail("%s: UID %u of %s was given before", s->who, uid, b->name);
    m = box_add(b);
    m->uid = uid;
    return m;
}

static void step_copy(struct story *s, size_t p, struct box *b, struct box *to, const struct step *step)
{
    struct request r = about(b, s, DO_COPY);
    bool move = step->kind == S_MOVE;

    r.n[0] = step->n[0];
    r.n[1] = 1 + step->n[1] % 4;
    r.n[2] = move;
    memcpy(r.to, to->name, sizeof r.to);
    if (!ask(s, p, &r))
        return;
    for (uint32_t i = 0; i < s->a.n && !failed(); i++) {
        struct msg *m = there(s, b, &s->items[i]), old, *made;

        if (!m)
            break;
        if (m->gone != (s->items[i].other == 0))
            fail("%s: UID %u is %s, its copy has UID %u", s->who, m->uid, m->gone ? "gone" : "there",
                s->items[i].other);
        if (m->gone || failed())
            continue;
        m->gone = move;
        old = *m; /* the array may move */
        made = add_with_uid(s, to, s->a.uidvalidity, s->items[i].other);
        made->flags = old.flags;
        made->keywords = old.keywords;
        made->received = old.received;
        memcpy(made->origin, old.origin, sizeof made->origin);
        if (move)
            memcpy(made->unique, old.unique, sizeof made->unique);
    }
}

static void step_append(struct story *s, size_t p, struct box *b, const struct step *step)
{
    struct request r = about(b, s, DO_APPEND);
    struct msg *m;

    r.n[0] = ++s->token;
    r.n[2] = step->n[2] & step->n[2] >> 8 & SYSTEM_FLAGS;
    r.n[3] = step->n[3] % 4 ? 0 : 1u << step->n[3] / 4 % KEYWORDS;
    r.since = 1500000000 + step->n[1] % 200000000;
    if (!ask(s, p, &r))
        return;
    m = add_with_uid(s, b, s->a.uidvalidity, s->a.uid);
    m->flags = r.n[2];
    m->keywords = r.n[3];
    m->received = (int64_t)r.since;
}

static struct msg *add_unnamed(struct box *b, const char *unique, uint32_t flags)
{
    struct msg *m = box_add(b);

    m->flags = flags;
    snprintf(m->unique, sizeof m->unique, "%s", unique);
    snprintf(m->origin, sizeof m->origin, "%.*s", (int)name_origin(slice_str(unique)).n, unique);
    return m;
}

static void step_deliver(struct story *s, size_t p)
{
    struct request r = about(&s->boxes[0], s, DO_DELIVER);

    r.n[0] = ++s->token;
    if (ask(s, p, &r))
        add_unnamed(&s->boxes[0], s->items[0].unique, 0);
}

/* --- looking --- */

static bool look(struct story *s, size_t p, struct box *b, bool hint, bool dates)
{
    struct request r = about(b, s, DO_REFRESH);

    r.n[0] = hint;
    if (!ask(s, p, &r))
        return false;
    s->procs[p].open[b - s->boxes] = true;
    r = about(b, s, DO_DUMP);
    r.n[1] = dates;
    return ask(s, p, &r);
}

static void resync(struct story *s, size_t p, struct box *b, struct client *c)
{
    struct request r = about(b, s, DO_VANISHED);

    if (!c->used || !(checks & (c->from == (int)p ? CHECK_RESYNC : CHECK_RESYNC_OTHERS)))
        return;
    r.since = c->modseq;
    if (ask_into(s, p, &r, &s->gone, s->vanished))
        check_resync(c, &s->a, s->items, &s->gone, s->vanished, s->who);
}

/* As it is in the middle of things: nothing that is there may be taken for gone. */
static void step_dump(struct story *s, size_t p, struct box *b)
{
    struct client *last = &s->procs[p].last[b - s->boxes];

    if (!look(s, p, b, false, false))
        return;
    check_dump(b, &s->a, s->items, last, false, s->who);
    resync(s, p, b, last);
    client_take(last, &s->a, s->items, (int)p, s->at);
}

static void step_sync(struct story *s, size_t p, struct box *b, const struct step *step)
{
    struct request r = about(b, s, DO_SYNC);

    r.session = step->n[0];
    r.n[0] = step->n[1] % 4 != 0;
    r.n[1] = step->n[2] % 3 != 0;
    if (!ask(s, p, &r))
        return;
    s->procs[p].open[b - s->boxes] = true;
    for (uint32_t i = 0; i < s->a.n; i++) {
        const struct msg *m = box_by_uid(b, s->items[i].uid);

        if (m && !m->gone)
            fail("%s: a session is told that UID %u was expunged, but it is there", s->who, m->uid);
    }
}

/* All has settled: what this process shows is what the model has, and each client comes out right. */
static void look_exactly(struct story *s, size_t p, struct box *b, uint32_t chance)
{
    struct client *last = &s->procs[p].last[b - s->boxes];
    struct step both = {.n = {0, 1, 1}};

    snprintf(s->who, sizeof s->who, "step %u, process %zu at rest", s->at, p);
    if (!look(s, p, b, chance & 1, true))
        return;
    check_dump(b, &s->a, s->items, last, true, s->who);
    resync(s, p, b, last);
    for (size_t c = 0; c < CLIENTS && !failed(); c++) {
        resync(s, p, b, &b->clients[c]);
        if (chance >> c & 2 || !b->clients[c].used)
            client_take(&b->clients[c], &s->a, s->items, (int)p, s->at);
    }
    client_take(last, &s->a, s->items, (int)p, s->at);
    for (uint32_t session = 0; session < SESSIONS && !failed(); session++) {
        both.n[0] = session;
        both.n[1] = 0; /* no look: the dump is what counts */
        step_sync(s, p, b, &both);
    }
}

static void check_status(struct story *s, size_t p, struct box *b)
{
    struct request r = about(b, s, DO_STATUS);
    uint32_t unseen = 0, deleted = 0, top = 0;

    if (!ask(s, p, &r))
        return;
    for (size_t i = 0; i < b->n; i++) {
        unseen += !b->m[i].gone && !(b->m[i].flags & FLAG_SEEN);
        deleted += !b->m[i].gone && (b->m[i].flags & FLAG_DELETED);
        top = b->m[i].uid > top ? b->m[i].uid : top;
    }
    if (s->a.changed != box_count(b) || s->a.unseen != unseen || s->a.deleted != deleted)
        fail("%s: STATUS %s: %u messages, %u unseen, %u deleted; there are %zu, %u, %u", s->who, b->name,
            s->a.changed, s->a.unseen, s->a.deleted, box_count(b), unseen, deleted);
    if (b->uidvalidity && s->a.uidvalidity != b->uidvalidity)
        fail("%s: STATUS %s: UIDVALIDITY %u, it was %u", s->who, b->name, s->a.uidvalidity, b->uidvalidity);
    if ((checks & CHECK_UIDNEXT) && s->a.uidnext <= top)
        fail("%s: STATUS %s: UIDNEXT %u, UID %u was given", s->who, b->name, s->a.uidnext, top);
    if ((checks & CHECK_MODSEQ_OTHERS) && s->a.modseq < b->modseq)
        fail("%s: STATUS %s: HIGHESTMODSEQ %llu, %llu was told before", s->who, b->name,
            (unsigned long long)s->a.modseq, (unsigned long long)b->modseq);
}

/* Nothing happens for a while (or the mtimes say so); each process looks twice, the second time it counts. */
static void step_quiet(struct story *s, const struct step *step)
{
    bool sleeps = s->o->seed % 8 == 7;
    struct timespec nap = {.tv_nsec = 30000000};
    uint32_t chance = step->n[0];
    size_t n = s->o->processes, fresh = step->n[1] % 3 == 0 ? 1 : 0;

    for (int round = 0; round < 2 && !failed(); round++) {
        if (sleeps)
            nanosleep(&nap, NULL);
        for (size_t i = 0; i < n + fresh && !failed(); i++) {
            size_t p = i < n ? (i + step->n[2]) % n : PROCESSES;

            for (size_t k = 0; k < s->nboxes && !failed(); k++) {
                struct box *b = &s->boxes[k];

                /* one process at least has a look at every mailbox */
                if (!b->alive || (i > 0 && p != PROCESSES && !s->procs[p].open[k]))
                    continue;
                if (!sleeps)
                    tree_touch(&s->tree, b->name);
                snprintf(s->who, sizeof s->who, "step %u, process %zu comes to rest", s->at, p);
                if (round == 0 && p != PROCESSES)
                    look(s, p, b, false, false);
                else if (round == 1)
                    look_exactly(s, p, b, chance = chance * 2654435761u + 12345);
            }
        }
    }
    totals.fresh += fresh;
    for (size_t k = 0; k < s->nboxes && !failed(); k++)
        if (s->boxes[k].alive) {
            snprintf(s->who, sizeof s->who, "step %u, process %zu", s->at, (step->n[3] + k) % n);
            check_status(s, (step->n[3] + k) % n, &s->boxes[k]);
        }
    if (fresh && !failed())
        proc_end(s, PROCESSES, step->n[1] % 2);
}

/* --- mailboxes --- */

static const char *free_name(struct story *s, uint32_t k)
{
    static const char *const names[] = {"A", "B", "C", "D", "E"};

    for (uint32_t i = 0; i < 5; i++) {
        const char *name = names[(k + i) % 5];
        bool taken = false;

        for (size_t b = 0; b < s->nboxes; b++)
            taken |= s->boxes[b].alive && strcmp(s->boxes[b].name, name) == 0;
        if (!taken)
            return name;
    }
    return NULL;
}

static void close_everywhere(struct story *s, struct box *b)
{
    size_t at = (size_t)(b - s->boxes);

    for (size_t p = 0; p < PROCESSES; p++) {
        struct request r = about(b, s, DO_CLOSE);

        if (s->procs[p].pid && s->procs[p].open[at])
            ask(s, p, &r);
        s->procs[p].open[at] = false;
        client_free(&s->procs[p].last[at]);
    }
}

static struct box *new_box(struct story *s, const char *name)
{
    struct box *b = &s->boxes[s->nboxes++];

    *b = (struct box){.alive = true};
    snprintf(b->name, sizeof b->name, "%s", name);
    return b;
}

static void step_create(struct story *s, size_t p, const struct step *step)
{
    const char *name = free_name(s, step->n[0]);
    struct request r;

    if (!name || s->nboxes == BOXES)
        return;
    r = about(new_box(s, name), s, DO_CREATE);
    ask(s, p, &r);
}

static void step_rename(struct story *s, size_t p, struct box *b, const struct step *step)
{
    const char *name = free_name(s, step->n[0]);
    struct request r = about(b, s, DO_RENAME);

    if (!name || b == s->boxes)
        return;
    snprintf(r.to, sizeof r.to, "%s", name);
    if (!(checks & CHECK_BY_NAME))
        close_everywhere(s, b);
    if (ask(s, p, &r))
        memcpy(b->name, r.to, sizeof b->name);
}

static void step_delete(struct story *s, size_t p, struct box *b, const struct step *step)
{
    struct request r = about(b, s, DO_DELETE);

    if (b == s->boxes || !ask(s, p, &r))
        return;
    b->alive = false;
    r = about(b, s, DO_REFRESH);
    for (size_t other = 0; other < PROCESSES && !failed(); other++)
        if (s->procs[other].pid && s->procs[other].open[b - s->boxes] &&
            ask_into(s, other, &r, &s->a, s->items) && s->a.rc == 0)
            fail("%s: process %zu does not see that %s was deleted", s->who, other, b->name);
    if (!(checks & CHECK_BY_NAME) || step->n[0] % 2)
        close_everywhere(s, b);
}

/* --- foreign programs --- */

static void resolve(struct story *s, size_t p, struct box *b)
{
    tree_touch(&s->tree, b->name);
    if (look(s, p, b, false, false))
        learn_from_disk(s, b);
}

static void foreign_to_new(struct story *s, size_t p, struct box *b, struct msg *m, const struct file *f)
{
    uint32_t uid = m->uid;
    size_t place = (size_t)(m - b->m);
    struct msg copy = *m;

    if (!tree_to_new(&s->tree, b->name, f))
        return;
    /* Who does not know the message may take it for a new one: its old UID is dead then. */
    m->uid = 0;
    tree_touch(&s->tree, b->name);
    if (!look(s, p, b, false, false))
        return;
    for (uint32_t i = 0; i < s->a.n && uid; i++)
        if (s->items[i].uid == uid) {
            b->m[place].uid = uid;
            return;
        }
    if (client_has(&s->procs[p].last[b - s->boxes], uid))
        fail("%s: UID %u of %s, which this process knew, came back from new/ as another message", s->who, uid,
            b->name);
    if (uid) {
        struct msg *dead = box_add(b);

        *dead = copy;
        dead->gone = true;
        totals.renumbered++;
    }
    learn_from_disk(s, b);
}

static void foreign_many(struct story *s, struct box *b)
{
    for (unsigned i = 0; i < 300 && !failed(); i++) {
        char name[80], unique[64];

        snprintf(unique, sizeof unique, "%u.M%u.foreign", 1400000000 + i / 2, ++s->token);
        snprintf(name, sizeof name, "%s:2,%s", unique, i % 3 ? "S" : "");
        if (tree_add(&s->tree, b->name, name, false, s->token, 0))
            add_unnamed(b, unique, i % 3 ? FLAG_SEEN : 0);
    }
}

static void foreign_add(struct story *s, struct box *b, const struct step *step)
{
    char name[80], unique[64];
    bool to_new = step->n[0] % 2, seen = !to_new && step->n[1] % 2;

    snprintf(unique, sizeof unique, "%u.F%u.foreign", 1600000000 + step->n[2] % 1000, ++s->token);
    snprintf(name, sizeof name, "%s%s%s", unique, to_new ? "" : ":2,", seen ? "S" : "");
    if (tree_add(&s->tree, b->name, name, to_new, s->token, 0))
        add_unnamed(b, unique, seen ? FLAG_SEEN : 0);
}

static void foreign_return(struct story *s, size_t p)
{
    struct box *b = &s->boxes[s->returned_box];
    struct name name;
    struct msg *m;
    char unique[UNIQUE_LEN];
    uint32_t uid;

    if (!s->returned.name[0] || !b->alive || !(checks & CHECK_RETURN) ||
        !name_parse(slice_str(s->returned.name), b->uidvalidity, &name) || name.uid == 0 ||
        !tree_add(&s->tree, b->name, s->returned.name, false, ++s->token, s->returned.mtime))
        return;
    snprintf(unique, sizeof unique, "%.*s", (int)name.unique.n, name.unique.p);
    m = box_by_uid(b, name.uid);
    uid = name.uid;
    s->returned.name[0] = 0;
    tree_touch(&s->tree, b->name);
    if (!look(s, p, b, false, false))
        return;
    for (uint32_t i = 0; i < s->a.n; i++)
        if (m && s->items[i].uid == uid) { /* nobody had seen it go: it is the same */
            if (m->noticed)
                fail("%s: UID %u of %s was expunged, and is given to its file that came back", s->who, uid,
                    b->name);
            m->gone = false;
            m->flags = name.flags;
            return;
        }
    add_unnamed(b, unique, name.flags);
    learn_from_disk(s, b);
}

static void foreign_one(struct story *s, size_t p, struct box *b, struct box *to, const struct step *step)
{
    struct msg *m = box_at(b, step->n[0]), copy;
    struct file *found = m ? file_of(s, b, m) : NULL, f;

    if (!m)
        return;
    if (!found) {
        fail("%s: the file of UID %u of %s (%s) is lost", s->who, m->uid, b->name, m->unique);
        return;
    }
    f = *found;
    if (!m->unique[0] ||
        (f.uid && !m->uid)) { /* one that was appended or copied, or delivered, and not looked at since */
        struct item it = {.uid = m->uid ? m->uid : f.uid};

        snprintf(it.unique, sizeof it.unique, "%.*s", (int)strcspn(f.name, ",:"), f.name);
        box_bind(b, &it, s->who);
    }
    copy = *m;
    switch ((enum kind)step->kind) {
    case F_FLAGS:
        m->flags = step->n[1] & SYSTEM_FLAGS;
        tree_set_flags(&s->tree, b->name, &f, m->flags | (f.flags & ~SYSTEM_FLAGS));
        break;
    case F_DELETE:
        if (!tree_delete(&s->tree, b->name, &f))
            fail("%s: %s cannot be deleted", s->who, f.name);
        m->gone = true;
        if (m->uid && !(f.flags & ~SYSTEM_FLAGS)) {
            s->returned = f;
            s->returned_box = (uint32_t)(b - s->boxes);
        }
        break;
    case F_TO_NEW:
        foreign_to_new(s, p, b, m, &f);
        break;
    case F_COPY:
    case F_TWICE:
        /* letters mean other words elsewhere */
        if (copy.keywords || !copy.unique[0] ||
            !tree_copy(&s->tree, b->name, &f, to->name, (step->kind == F_TWICE) != f.in_new))
            break;
        add_unnamed(to, copy.unique, copy.flags)->received = copy.received;
        resolve(s, p, to);
        break;
    default:
        break;
    }
}

/* --- steps --- */

static void step_lose(struct story *s, const struct step *step)
{
    for (size_t p = 0; p < s->o->processes; p++)
        proc_end(s, p, step->n[0] >> p & 1);
    for (size_t k = 0; k < s->nboxes; k++)
        if (s->boxes[k].alive && (step->n[1] >> k & 1))
            tree_damage(&s->tree, s->boxes[k].name, (step->n[2] >> k) % 5, step->n[3] * (uint32_t)(k + 1));
    if (step->n[4] % 5 == 0)
        tree_lose_state(&s->tree);
    /* what was expunged is forgotten with the history; a name that comes back may be believed */
    for (size_t k = 0; k < s->nboxes; k++)
        for (size_t i = 0; i < s->boxes[k].n; i++)
            s->boxes[k].m[i].noticed = false;
}

static void step_simple(struct story *s, size_t p, struct box *b, const struct step *step)
{
    static const enum what what[KINDS] = {[S_OPEN] = DO_OPEN,
        [S_CLOSE] = DO_CLOSE,
        [S_REFRESH] = DO_REFRESH,
        [S_STATUS] = DO_STATUS,
        [S_FSYNC] = DO_FSYNC,
        [S_ADOPT] = DO_ADOPT};
    struct request r = about(b, s, what[step->kind]);
    size_t at = (size_t)(b - s->boxes);

    r.n[0] = step->kind == S_ADOPT ? 1 + step->n[0] % 200 : step->n[0] % 2;
    ask(s, p, &r);
    s->procs[p].open[at] |= step->kind != S_STATUS;
    if (step->kind == S_CLOSE) {
        s->procs[p].open[at] = false;
        client_free(&s->procs[p].last[at]);
        for (size_t c = 0; c < CLIENTS; c++)
            if (b->clients[c].from == (int)p)
                b->clients[c].from = -1;
    }
}

static struct box *living(struct story *s, uint32_t k)
{
    size_t n = 0;

    for (size_t i = 0; i < s->nboxes; i++)
        n += s->boxes[i].alive;
    k = (uint32_t)(k % n);
    for (size_t i = 0; i < s->nboxes; i++)
        if (s->boxes[i].alive && k-- == 0)
            return &s->boxes[i];
    return s->boxes;
}

static void step_do(struct story *s, const struct step *step)
{
    size_t p = step->process % s->o->processes;
    struct box *b = living(s, step->box), *to = living(s, step->n[4]);

    snprintf(
        s->who, sizeof s->who, "step %u, process %zu, %s, %s", s->at, p, b->name, kinds[step->kind].name);
    tell(s, "%s", s->who);
    switch ((enum kind)step->kind) {
    case S_DELIVER:
        step_deliver(s, p);
        break;
    case S_APPEND:
        step_append(s, p, b, step);
        break;
    case S_FLAG:
        step_flag(s, p, b, step);
        s->procs[p].open[b - s->boxes] = true;
        break;
    case S_COPY:
    case S_MOVE:
        step_copy(s, p, b, to, step);
        s->procs[p].open[b - s->boxes] = true;
        break;
    case S_EXPUNGE:
        step_expunge(s, p, b, step);
        s->procs[p].open[b - s->boxes] = true;
        break;
    case S_DUMP:
        step_dump(s, p, b);
        break;
    case S_SYNC:
        step_sync(s, p, b, step);
        break;
    case S_CREATE:
        step_create(s, p, step);
        break;
    case S_RENAME:
        step_rename(s, p, b, step);
        break;
    case S_DELETE:
        step_delete(s, p, b, step);
        break;
    case S_RESTART:
        proc_end(s, p, step->n[0] % 2);
        break;
    case S_LOSE:
        step_lose(s, step);
        break;
    case S_QUIET:
        step_quiet(s, step);
        break;
    case F_ADD:
        foreign_add(s, b, step);
        break;
    case F_TOUCH:
        tree_touch_now(&s->tree, b->name);
        break;
    case F_RETURN:
        foreign_return(s, p);
        break;
    case F_MANY:
        foreign_many(s, b);
        break;
    case F_FLAGS:
    case F_DELETE:
    case F_TO_NEW:
    case F_COPY:
        foreign_one(s, p, b, to, step);
        break;
    case F_TWICE:
        foreign_one(s, p, b, b, step);
        break;
    default:
        step_simple(s, p, b, step);
        break;
    }
}

void lockstep_make(const struct options *o, struct step *steps, size_t n)
{
    uint64_t state = o->seed * 2654435761u + 1;
    unsigned all = 0;

    for (size_t k = 0; k < KINDS; k++)
        all += kinds[k].weight;
    for (size_t i = 0; i < n; i++) {
        unsigned at = (unsigned)(random_next(&state) % all), k = 0;

        while (at >= kinds[k].weight)
            at -= kinds[k++].weight;
        steps[i] = (struct step){.kind = k,
            .process = (uint32_t)(random_next(&state) >> 40),
            .box = (uint32_t)(random_next(&state) >> 40)};
        for (size_t j = 0; j < 5; j++)
            steps[i].n[j] = (uint32_t)(random_next(&state) >> 32);
    }
    steps[n - 1].kind = S_QUIET;
}

void lockstep_print(const struct step *s, size_t i)
{
    printf("  %3zu %-18s process %u mailbox %u  %u %u %u %u %u\n", i, kinds[s->kind].name, s->process % 60,
        s->box % 60, s->n[0], s->n[1], s->n[2], s->n[3], s->n[4]);
}

bool lockstep_run(const struct options *o, const struct step *steps, size_t n, bool verbose)
{
    struct story *s = mem_zalloc(1, sizeof *s);

    failure[0] = 0;
    s->o = o;
    s->verbose = verbose;
    s->items = mem_zalloc(ITEMS_MAX, sizeof *s->items);
    s->vanished = mem_zalloc(ITEMS_MAX, sizeof *s->vanished);
    s->files = mem_zalloc(FILES_MAX, sizeof *s->files);
    if (!tree_make(&s->tree, o->where))
        fail("no folder can be made in %s", o->where);
    new_box(s, "INBOX");
    for (uint32_t i = 0; i < 2 && !failed(); i++) {
        struct step make = {.kind = S_CREATE, .n = {i}};

        step_do(s, &make);
    }
    for (size_t i = 0; i < n && !failed(); i++) {
        if (steps[i].kind == STEP_NONE) /* left out by the search for a shorter story */
            continue;
        s->at = (unsigned)i;
        step_do(s, &steps[i]);
    }
    for (size_t p = 0; p <= PROCESSES; p++)
        proc_end(s, p, failed());
    for (size_t k = 0; k < s->nboxes; k++) {
        totals.messages += s->boxes[k].n;
        box_clear(&s->boxes[k]);
    }
    tree_remove(&s->tree);
    free(s->items);
    free(s->vanished);
    free(s->files);
    free(s);
    return !failed();
}
