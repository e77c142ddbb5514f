#include "common/secrets.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"

#define PASSWORD_MAX 1024

static int load(const char *file, struct buf *out, struct err *e)
{
    struct buf text = BUF_INIT(PASSWORD_MAX + 1);
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct slice rest, line = SLICE("");

    if (fd < 0)
        return err_set(e, ERR_CONFIG, "%s: the file of a route's password cannot be opened: %m", file);
    if (fs_read_all(fd, &text, PASSWORD_MAX) == 0) {
        rest = buf_slice(&text);
        slice_cut(&rest, '\n', &line);
        line = slice_trim(line);
        buf_add(out, line);
    }
    close(fd);
    if (text.p)
        mem_wipe(text.p, text.size);
    buf_free(&text);
    return line.n ? 0 : err_set(e, ERR_CONFIG, "%s: no password stands on the first line of the file", file);
}

int secrets_load(const struct settings *s, struct buf *blob, struct err *e)
{
    *blob = BUF_INIT(BUF_OWN);
    for (size_t i = 0; i < s->nroutes; i++) {
        struct buf password = BUF_INIT(PASSWORD_MAX);
        int rc = s->routes[i].password_file ? load(s->routes[i].password_file, &password, e) : 0;
        uint32_t n = (uint32_t)password.n;

        buf_add(blob, slice_of(&n, sizeof n));
        buf_add(blob, buf_slice(&password));
        if (password.p)
            mem_wipe(password.p, password.size);
        buf_free(&password);
        if (rc < 0)
            return -1;
    }
    return 0;
}

struct slice secrets_get(struct slice blob, size_t route)
{
    for (;; route--) {
        uint32_t n;

        if (blob.n < sizeof n)
            return SLICE("");
        memcpy(&n, blob.p, sizeof n);
        blob = slice_from(blob, sizeof n);
        if (route == 0)
            return slice_sub(blob, 0, n);
        blob = slice_from(blob, n);
    }
}
