#include "common/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/mem.h"

struct queue {
    struct pool_job *first, **last;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct queue todo, finished;
    unsigned waiting, waiting_max;
    int wake;
    struct event *woken;
};

static void push(struct queue *q, struct pool_job *job)
{
    job->next = NULL;
    *q->last = job;
    q->last = &job->next;
}

static struct pool_job *pop(struct queue *q)
{
    struct pool_job *job = q->first;

    if (!job)
        return NULL;
    q->first = job->next;
    if (!q->first)
        q->last = &q->first;
    return job;
}

static void *run(void *arg)
{
    struct pool *p = arg;
    const uint64_t one = 1;

    for (;;) {
        struct pool_job *job;
        bool is_awake;

        pthread_mutex_lock(&p->lock);
        while (!p->todo.first)
            pthread_cond_wait(&p->some, &p->lock);
        job = pop(&p->todo);
        p->waiting--;
        pthread_mutex_unlock(&p->lock);
        job->work(job);
        pthread_mutex_lock(&p->lock);
        is_awake = p->finished.first != NULL; /* it was told, and takes until none is left */
        push(&p->finished, job);
        pthread_mutex_unlock(&p->lock);
        if (!is_awake && write(p->wake, &one, sizeof one) < 0)
            errno = 0; /* the counter is full: the loop is awake */
    }
    return NULL;
}

static void on_woken(evutil_socket_t fd, short what, void *arg)
{
    struct pool *p = arg;
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return;
    for (;;) {
        struct pool_job *job;

        pthread_mutex_lock(&p->lock);
        job = pop(&p->finished);
        pthread_mutex_unlock(&p->lock);
        if (!job)
            return;
        job->done(job);
    }
}

bool pool_submit(struct pool *p, struct pool_job *job)
{
    bool ok;

    pthread_mutex_lock(&p->lock);
    ok = p->waiting < p->waiting_max;
    if (ok) {
        push(&p->todo, job);
        p->waiting++;
    }
    pthread_mutex_unlock(&p->lock);
    if (ok)
        pthread_cond_signal(&p->some); /* not inside: who wakes up wants the lock */
    return ok;
}

struct pool *pool_new(struct event_base *base, unsigned threads, unsigned waiting_max)
{
    struct pool *p = mem_zalloc(1, sizeof *p);
    sigset_t all, old;

    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->some, NULL);
    p->todo.last = &p->todo.first;
    p->finished.last = &p->finished.first;
    p->waiting_max = waiting_max;
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->woken = p->wake < 0 ? NULL : event_new(base, p->wake, EV_READ | EV_PERSIST, on_woken, p);
    INVARIANT(p->woken && event_add(p->woken, NULL) == 0);
    /* signals are the loop's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 0; i < threads; i++) {
        pthread_t thread;

        INVARIANT(pthread_create(&thread, NULL, run, p) == 0);
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return p;
}
