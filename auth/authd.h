/* authd: what its files share: authd.c (the role), authd_login.c (logins), authd_mail.c (recipients, usage),
 * authd_keys.c (DKIM keys for
 * queued), authd_admin.c (the control socket). */
#ifndef AUTH_AUTHD_H
#define AUTH_AUTHD_H

#include "auth/directory.h"
#include "common/pool.h"
#include "auth/sasl.h"
#include "auth/throttle.h"
#include "common/hmap.h"
#include "common/role.h"
#include "mail/srs.h"

struct authd {
    struct role *role;
    struct directory *directory;
    struct sasl_server *sasl;
    struct throttle *throttle;
    struct pool *pool;
    struct hmap logins;  /* {front role, instance, session} -> struct login */
    uint64_t generation; /* of the directory when mechanisms were last looked at */
    char mechanisms[64];
    struct control *control;
    gid_t admin_group;
    unsigned char srs_secret[SRS_SECRET_LEN];
};

int64_t authd_now(void); /* monotonic seconds */

/* authd_login.c */
bool login_message(struct authd *a, enum role_id front, unsigned instance, struct ipc *ch, struct ipc_in *in);
void login_front_gone(struct authd *a, enum role_id front, unsigned instance);
/* Tells the fronts which mechanisms to announce if that changed; `to` (a new front) in any case. */
void login_announce(struct authd *a, struct ipc *to);

/* authd_mail.c */
/* Reads the secret of srs.h, or makes it. */
int mail_open(struct authd *a, struct err *e);
bool mail_message(struct authd *a, struct ipc *ch, struct ipc_in *in);
void mail_send_quota(struct authd *a, struct slice account);

/* authd_keys.c: what queued signs with */
/* All domains with their keys, to a queued that has just come. */
void keys_send_all(struct authd *a, struct ipc *queued);
/* One domain, as the admin wrote it: it is there or gone, or its keys are others. */
void keys_send_changed(struct authd *a, struct slice domain);

/* authd_admin.c */
void admin_listen(struct authd *a, int fd);

#endif
