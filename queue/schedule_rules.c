#include "common/checksum.h"
#include "queue/schedule.h"

/* Seconds after the first attempts, where they differ from first, 2 * first, 4 * first ..; 0 ends the row. */
static const struct {
    const char *name;
    int64_t early[4];
} classes[SCHEDULE_CLASSES] = {
    [SCHEDULE_CONNECT] = {"connect", {0}},
    [SCHEDULE_GREYLIST] = {"greylist", {60, 300, 600, 0}}, /* most let a sender in after 1 to 5 minutes */
    [SCHEDULE_RATE] = {"rate", {300, 900, 1800, 0}},       /* coming at once makes it worse */
    [SCHEDULE_TLS] = {"tls", {0}},
    [SCHEDULE_DNS] = {"dns", {120, 300, 0}}, /* mostly ours, and soon over */
    [SCHEDULE_OTHER] = {"other", {0}},
};

const char *schedule_class_name(enum schedule_class c)
{
    return (unsigned)c < SCHEDULE_CLASSES ? classes[c].name : "other";
}

enum schedule_class schedule_class_of(enum reply_class c)
{
    switch (c) {
    case REPLY_GREYLIST:
        return SCHEDULE_GREYLIST;
    case REPLY_RATE:
    case REPLY_REPUTATION:
        return SCHEDULE_RATE;
    case REPLY_TLS:
        return SCHEDULE_TLS;
    case REPLY_DNS:
        return SCHEDULE_DNS;
    case REPLY_NETWORK:
        return SCHEDULE_CONNECT;
    default:
        return SCHEDULE_OTHER;
    }
}

struct schedule_rules schedule_default_rules(void)
{
    return (struct schedule_rules){
        .first = 300,
        .most = 4000,
        .life = (int64_t)5 * 86400,
        .warn = (int64_t)4 * 3600,
        .attempts = 5,
        .concurrency = 20,
        .total = 200,
    };
}

static int64_t doubled(const struct schedule_rules *r, unsigned times)
{
    int64_t delay = r->first;

    while (times-- && delay < r->most)
        delay *= 2;
    return delay;
}

int64_t schedule_delay(
    const struct schedule_rules *r, enum schedule_class c, unsigned attempt, struct slice id)
{
    const int64_t *early = (unsigned)c < SCHEDULE_CLASSES ? classes[c].early : classes[SCHEDULE_OTHER].early;
    unsigned n = 0, step = attempt ? attempt - 1 : 0;
    int64_t delay;

    while (n <= step && n < 4 && early[n])
        n++;
    if (n > step) {
        delay = early[step];
    } else {
        /* behind its own row a class goes on where the common one doubles, and never comes back to less */
        delay = doubled(r, step);
        if (n && delay < early[n - 1])
            delay = early[n - 1];
    }
    delay = delay < r->most ? delay : r->most;
    /* a quarter in 1,024 steps; the attempt is in it, so two ids do not stay side by side */
    return delay + delay * (int64_t)(checksum64(attempt, id) % 1024) / 4096;
}

int64_t schedule_next(
    const struct schedule_rules *r, enum schedule_class c, unsigned attempt, struct slice id, int64_t now)
{
    return now + schedule_delay(r, c, attempt, id);
}

int64_t schedule_sane(const struct schedule_rules *r, int64_t next, int64_t now)
{
    int64_t latest = now + r->most + r->most / 4;

    return next > latest ? latest : next;
}

static bool is_older(int64_t created, int64_t age, int64_t now)
{
    return now > created && now - created >= age;
}

bool schedule_is_expired(const struct schedule_rules *r, int64_t created, unsigned attempts, int64_t now)
{
    return attempts >= r->attempts && is_older(created, r->life, now);
}

int64_t schedule_expiry(const struct schedule_rules *r, int64_t created)
{
    return created + r->life;
}

bool schedule_is_warning_due(
    const struct schedule_rules *r, int64_t created, unsigned attempts, bool warned, int64_t now)
{
    return r->warn > 0 && !warned && attempts >= 2 && is_older(created, r->warn, now);
}
