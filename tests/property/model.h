/*
 * model: the property test of the store (store_model.c): its parts, and what they tell each other.
 *
 *     store_model.c  seeds, rounds, shrinking, the command line      lockstep.c  one seed: who does what next
 *     worker.c       a process with an account: does one request     oracle.c    what must be true
 *     tree.c         the trees; what foreign programs do to them     free.c      all at once, with ledgers
 *
 * In lock-step the parent asks one process after the other, so that a seed is a story that can be told again;
 * names and clocks differ from run to run, the order of what is done does not. All failures go to fail():
 * one sentence, the first one counts.
 */
#ifndef TESTS_PROPERTY_MODEL_H
#define TESTS_PROPERTY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ACCOUNT "example.org/anna"
#define BOXES 24      /* mailboxes that can be made in one seed */
#define PROCESSES 8   /* at most */
#define SESSIONS 2    /* of a process on one mailbox */
#define KEYWORDS 8    /* names K0 .. K7 */
#define UNIQUE_LEN 96 /* octets of a unique part, with its NUL */
#define ITEMS_MAX 20000
#define SYSTEM_FLAGS 0x3fu

/* --- the protocol between the parent and its processes --- */

enum what {
    DO_OPEN,    /* the mailbox and its sessions, if they are not open */
    DO_CLOSE,   /* sessions and mailbox */
    DO_REFRESH, /* n[0]: with a hint */
    DO_DUMP,    /* all messages as this process has them; n[1]: with INTERNALDATE */
    DO_VANISHED,
    DO_SYNC,    /* session; n[0]: refresh before, n[1]: with expunges */
    DO_FLAG,    /* n[0]: which message, n[1]: how, n[2]: flags, n[3]: keywords */
    DO_EXPUNGE, /* n[0]: first message, or its UID in since; n[1]: how many */
    DO_COPY,    /* the same; n[2]: move; to */
    DO_APPEND,  /* n[0]: token, n[2]: flags, n[3]: keywords; since: INTERNALDATE */
    DO_DELIVER, /* n[0]: token */
    DO_STATUS,
    DO_CREATE,
    DO_RENAME, /* to */
    DO_DELETE,
    DO_FSYNC,
    DO_ADOPT, /* n[0]: at most so many */
    DO_QUIT,  /* closes all and ends */
};

struct request {
    enum what what;
    uint32_t box, session, n[4];
    uint64_t since;
    char name[32], to[32];
};

struct item {
    uint32_t uid, flags, keywords, other; /* other: the UID of a copy */
    uint64_t modseq;
    int64_t received;
    char unique[UNIQUE_LEN];
};

struct answer {
    int rc, code;  /* 0, or -1 with the error's code; -2: the view is wrong, see why */
    char why[200]; /* detail of the error */
    uint32_t uidvalidity, uid, uidnext, unseen, deleted, changed;
    uint64_t modseq;
    bool complete; /* DO_VANISHED */
    char id[40];
    uint32_t n; /* items that follow */
};

struct worker;
/* Own account object on the trees below `top`. */
struct worker *worker_new(const char *top);
/* items has room for ITEMS_MAX. */
void worker_do(struct worker *w, const struct request *r, struct answer *a, struct item *items);
void worker_free(struct worker *w);
/* What this process logs, or a sanitizer says, goes to <top>/stderr. */
void worker_quiet(const char *top);
/* Answers requests from the socket until its end. */
void worker_serve(const char *top, int fd) __attribute__((noreturn));
bool octets_read(int fd, void *to, size_t n);
bool octets_write(int fd, const void *from, size_t n);

/* --- the trees --- */

struct tree {
    char top[96];
};

bool tree_make(struct tree *t, const char *where);
void tree_remove(struct tree *t);
/* What processes said before one died. */
void tree_print_stderr(const struct tree *t);
void tree_path(const struct tree *t, const char *box, const char *sub, char *out, size_t size);
/* An entry of cur/ or new/. */
struct file {
    char name[256];
    bool in_new;
    uint32_t uid, flags;
    int64_t mtime; /* known of a deleted one */
};
size_t tree_list(const struct tree *t, const char *box, uint32_t uidvalidity, struct file *out, size_t most);
/* What foreign programs do; false when it cannot be done with that file. */
bool tree_set_flags(const struct tree *t, const char *box, const struct file *f, uint32_t flags);
bool tree_delete(const struct tree *t, const char *box, struct file *f);
bool tree_to_new(const struct tree *t, const char *box, const struct file *f);
/* The same name in another folder, another inode. */
bool tree_copy(const struct tree *t, const char *box, const struct file *f, const char *to, bool to_new);
bool tree_add(
    const struct tree *t, const char *box, const char *name, bool to_new, uint32_t token, int64_t mtime);
/* mtimes of cur/ and new/: long ago, and each time others */
void tree_touch(const struct tree *t, const char *box);
void tree_touch_now(const struct tree *t, const char *box);
/* kind 0: the index, 1: the cache, 2: all of the mailbox, 3: truncated index, 4: a flipped bit in it. */
void tree_damage(const struct tree *t, const char *box, unsigned kind, uint32_t where);
void tree_lose_state(const struct tree *t);

/* --- what must be true --- */

struct msg {
    uint32_t uid; /* 0: has none yet that we know of */
    uint32_t flags, keywords;
    int64_t received;
    bool gone, noticed;      /* noticed: a process has shown the mailbox without it since */
    char unique[UNIQUE_LEN]; /* "": not known yet */
    char origin[UNIQUE_LEN];
};

struct client { /* has seen a mailbox once and remembers UIDVALIDITY, HIGHESTMODSEQ and what was there */
    bool used;
    uint32_t uidvalidity;
    uint64_t modseq;
    uint32_t n;
    struct item *items;
    int from; /* process, -1: none that lives */
    unsigned step;
};
#define CLIENTS 6

struct box {
    bool alive;
    char name[32], id[40];
    uint32_t uidvalidity;
    uint64_t modseq; /* highest that anybody was told */
    struct msg *m;
    size_t n, size;
    struct client clients[CLIENTS];
};

enum check {
    CHECK_RESYNC_OTHERS = 1, /* a client of one process comes to another one */
    CHECK_MODSEQ_OTHERS = 2, /* HIGHESTMODSEQ never falls from process to process */
    CHECK_RESYNC = 4,        /* a client comes back to the process it had */
    CHECK_ORDER = 8,         /* new messages have higher UIDs than what that process had */
    CHECK_BY_NAME = 16,      /* a name is the mailbox that has it now, whatever the process has open */
    CHECK_RETURN = 32,       /* a deleted file that comes back with its old name: all agree on its UID */
    CHECK_UIDNEXT = 64,      /* told by one process, above every UID that any has given */
    CHECK_ALL = 127,
};
extern unsigned checks;

extern char failure[600];
extern const char *failure_kind; /* its format: the same kind of failure has the same */
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool failed(void);

void box_clear(struct box *b);
struct msg *box_add(struct box *b);
/* The message of an item, bound to it if nobody had told its UID; NULL (and a failure) if there cannot be
 * one. */
struct msg *box_bind(struct box *b, const struct item *it, const char *who);
struct msg *box_by_uid(struct box *b, uint32_t uid);
/* The k-th that is there, or NULL. */
struct msg *box_at(struct box *b, uint32_t k);
size_t box_count(const struct box *b);
/* exact: all foreign and neighbours' changes must have been seen. before: what the same process showed last,
 * or NULL. */
void check_dump(struct box *b, const struct answer *a, const struct item *items, const struct client *before,
    bool exact, const char *who);
/* Whether a client's or a process' sight has this UID. */
bool client_has(const struct client *c, uint32_t uid);
/* The client asks what changed and vanished since it was there; its state is what the process has afterwards.
 */
void check_resync(struct client *c, const struct answer *a, const struct item *items,
    const struct answer *gone, const struct item *vanished, const char *who);
void client_take(struct client *c, const struct answer *a, const struct item *items, int from, unsigned step);
void client_free(struct client *c);

/* --- ways of running --- */

struct options {
    uint64_t seed;
    unsigned steps, processes;
    bool verbose;
    const char *where; /* a folder for the trees */
};
struct totals {
    uint64_t requests, dumps, resyncs, incomplete, renumbered, stale, fresh, messages;
};
extern struct totals totals;

#define STEP_NONE 29 /* a step that is left out */
struct step {
    uint32_t kind, process, box, n[5];
};
/* One seed in lock-step. True when all is well, else see failure. */
bool lockstep_run(const struct options *o, const struct step *steps, size_t n, bool verbose);
void lockstep_make(const struct options *o, struct step *steps, size_t n);
void lockstep_print(const struct step *s, size_t i);
/* All processes at once, each by itself. */
bool free_run(const struct options *o);

uint64_t random_next(uint64_t *state);

#endif
