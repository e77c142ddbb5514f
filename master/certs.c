#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "common/tls.h"

#define PEM_MAX ((size_t)1 << 18)

static int read_pem(const char *path, struct buf *out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int rc;

    buf_init(out, PEM_MAX + 1);
    if (fd < 0)
        return err_set(e, ERR_CONFIG, "%s: %s", path, strerror(errno));
    rc = fs_read_all(fd, out, PEM_MAX);
    close(fd);
    return rc < 0 ? err_set(e, ERR_CONFIG, "%s: %s", path, strerror(errno)) : 0;
}

static void tell(const char *path, const struct tls_info *info)
{
    struct buf until = BUF_INIT(64);
    time_t end = (time_t)info->not_after;
    struct tm tm;
    char text[32];

    if (gmtime_r(&end, &tm) && strftime(text, sizeof text, "%Y-%m-%d", &tm))
        buf_add_str(&until, text);
    LOG(CERTIFICATE, NULL, F_STR("file", path), F_STR("names", info->names),
        F_SLICE("until", buf_slice(&until)), F_STR("issuer", info->self_signed ? "itself" : info->issuer));
    buf_free(&until);
}

static int write_own(const char *path, struct slice pem, mode_t mode, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);

    if (fd < 0)
        return err_set(e, ERR_CONFIG, "%s: %s", path, strerror(errno));
    /* the umask is 077, but a certificate is for everybody */
    if (fchmod(fd, mode) < 0 || fs_write_all(fd, pem) < 0 || fs_sync_data(fd) < 0) {
        err_set(e, ERR_CONFIG, "%s: %s", path, strerror(errno));
        close(fd);
        return -1;
    }
    return close(fd) < 0 ? err_errno(e, path) : 0;
}

/* The certificate of a first start: self-signed, kept in tls_dir, so that clients that accepted it see it
 * again. */
static int own_certificate(const struct settings *s, char **chain, char **key, struct err *e)
{
    struct buf chain_pem = BUF_INIT(PEM_MAX), key_pem = BUF_INIT(PEM_MAX);
    const char *names[] = {s->hostname, "localhost"};
    int rc = 0;

    *chain = mem_printf("%s/self-signed.crt", s->tls_dir);
    *key = mem_printf("%s/self-signed.key", s->tls_dir);
    if (access(*chain, R_OK) == 0 && access(*key, R_OK) == 0)
        return 0;
    if (mkdir(s->tls_dir, 0755) == 0 ? chmod(s->tls_dir, 0755) < 0 : errno != EEXIST)
        return err_set(e, ERR_CONFIG, "folder %s cannot be made: %s", s->tls_dir, strerror(errno));
    if (tls_self_signed(names, 2, &chain_pem, &key_pem, e) < 0 ||
        write_own(*key, buf_slice(&key_pem), 0600, e) < 0 ||
        write_own(*chain, buf_slice(&chain_pem), 0644, e) < 0)
        rc = -1;
    if (key_pem.p)
        mem_wipe(key_pem.p, key_pem.size);
    buf_free(&chain_pem);
    buf_free(&key_pem);
    return rc;
}

int certs_load(const struct settings *s, const unsigned char ticket_keys[80], struct buf *blob, struct err *e)
{
    size_t n = s->ncertificates ? s->ncertificates : 1;
    struct certificate own = {0};
    const struct certificate *list = s->certificates;
    struct tls_pair *pairs = mem_zalloc(n, sizeof *pairs);
    struct buf *texts = mem_zalloc(2 * n, sizeof *texts);
    int rc = -1;

    if (!s->ncertificates) {
        if (own_certificate(s, &own.chain, &own.key, e) < 0)
            goto out;
        list = &own;
    }
    for (size_t i = 0; i < n; i++) {
        struct tls_info info;

        if (read_pem(list[i].chain, &texts[2 * i], e) < 0 || read_pem(list[i].key, &texts[2 * i + 1], e) < 0)
            goto out;
        pairs[i] = (struct tls_pair){buf_slice(&texts[2 * i]), buf_slice(&texts[2 * i + 1])};
        if (tls_inspect(pairs[i].chain, pairs[i].key, &info, e) < 0) {
            char detail[sizeof e->detail];

            memcpy(detail, e->detail, sizeof detail);
            err_set(e, ERR_CONFIG, "%.80s: %.100s", list[i].chain, detail);
            goto out;
        }
        tell(list[i].chain, &info);
    }
    buf_init(blob, (size_t)1 << 20);
    rc = tls_pack(pairs, n, ticket_keys, blob)
             ? 0
             : err_set(e, ERR_CONFIG, "the certificates are larger than 1 MiB");
out:
    for (size_t i = 0; i < 2 * n; i++) {
        if (texts[i].p)
            mem_wipe(texts[i].p, texts[i].size);
        buf_free(&texts[i]);
    }
    free(texts);
    free(pairs);
    free(own.chain);
    free(own.key);
    return rc;
}
