#include "smtpd/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/fs.h"
#include "queue/textfile.h"

#define PIECE ((size_t)32 * 1024) /* what a write should have at least */

static uint64_t held; /* octets in files of this process that were not taken yet */

void smtp_text_begin(struct smtp_text *t, uint64_t max)
{
    *t = (struct smtp_text){.waiting = BUF_INIT(2 * PIECE), .fd = -1};
    smtptext_init(&t->machine, max);
}

/* What waits and then `run`, in one call where the kernel takes it at once. */
static bool write_out(struct smtp_text *t, struct slice run)
{
    struct iovec iov[2] = {{t->waiting.p, t->waiting.n}, {(void *)(uintptr_t)run.p, run.n}};
    size_t total = t->waiting.n + run.n, put;
    ssize_t n;

    if (t->fd < 0)
        t->fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (t->fd < 0 || held + total > SMTP_TEXT_HELD_MAX)
        return false;
    held += total;
    t->written += total;
    do
        n = writev(t->fd, iov, 2);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return false;
    put = (size_t)n;
    if (put < t->waiting.n) {
        if (fs_write_all(t->fd, slice_from(buf_slice(&t->waiting), put)) < 0)
            return false;
        put = t->waiting.n;
    }
    run = slice_from(run, put - t->waiting.n);
    buf_clear(&t->waiting);
    return run.n == 0 || fs_write_all(t->fd, run) == 0;
}

static bool sink(void *ctx, struct slice run)
{
    struct smtp_text *t = ctx;

    if (t->waiting.n + run.n >= PIECE)
        return write_out(t, run);
    buf_add(&t->waiting, run);
    return true;
}

size_t smtp_text_data(struct smtp_text *t, struct slice in)
{
    return smtptext_data(&t->machine, in, sink, t);
}

void smtp_text_chunk(struct smtp_text *t, struct slice in, bool last)
{
    smtptext_bdat(&t->machine, in, last, sink, t);
}

int smtp_text_take(struct smtp_text *t)
{
    int fd = -1;

    if (write_out(t, SLICE("")) &&
        fcntl(t->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0) {
        fd = t->fd;
        t->fd = -1;
    }
    smtp_text_drop(t);
    return fd;
}

void smtp_text_drop(struct smtp_text *t)
{
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
    held -= t->written;
    t->written = 0;
    buf_free(&t->waiting);
}

struct smtp_verdict smtp_text_judge(const struct smtp_text *t, bool allow_nul)
{
    const struct smtptext *m = &t->machine;

    /* S01: what other servers might have taken for an end of the message; nothing is kept of either part */
    if (m->bare_cr || m->bare_lf)
        return (struct smtp_verdict){550, "5.5.2",
            "the message has line ends that are not CR LF; update or reconfigure the program that sends it",
            true};
    if (m->too_big || m->header_size > TEXTFILE_HEADER_MAX)
        return (struct smtp_verdict){552, "5.3.4",
            m->too_big
                ? "the message is larger than this server takes; send large files by a link"
                : "the header of the message is larger than 10 MiB; send it with fewer recipients or fields",
            false};
    if (m->nul && !allow_nul)
        return (struct smtp_verdict){
            554, "5.6.0", "the message holds NUL octets; encode it as base64", false};
    if (m->headers > SMTP_RECEIVED_MAX)
        return (struct smtp_verdict){554, "5.4.6",
            "the message passed more than 50 servers; look for a forward that points back to itself", false};
    if (m->sink_failed)
        return (struct smtp_verdict){
            452, "4.3.1", "the server has no room for the message; please try again later", false};
    return (struct smtp_verdict){0};
}
