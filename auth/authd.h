/* authd: what its files share: authd.c (the role), authd_login.c (logins), authd_mail.c (recipients, usage),
 * authd_admin.c (the control socket). */
#ifndef AUTH_AUTHD_H
#define AUTH_AUTHD_H

#include "auth/directory.h"
#include "common/pool.h"
#include "auth/sasl.h"
#include "auth/throttle.h"
#include "common/hmap.h"
#include "common/role.h"

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
};

int64_t authd_now(void); /* monotonic seconds */

/* authd_login.c */
bool login_message(struct authd *a, enum role_id front, unsigned instance, struct ipc *ch, struct ipc_in *in);
void login_front_gone(struct authd *a, enum role_id front, unsigned instance);
/* Tells the fronts which mechanisms to announce if that changed; `to` (a new front) in any case. */
void login_announce(struct authd *a, struct ipc *to);

/* authd_mail.c */
bool mail_message(struct authd *a, struct ipc *ch, struct ipc_in *in);
void mail_send_quota(struct authd *a, struct slice account);

/* authd_admin.c */
void admin_listen(struct authd *a, int fd);

#endif
