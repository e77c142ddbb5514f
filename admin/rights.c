#include "admin/rights.h"

#include <stdbool.h>
#include <unistd.h>

#include "common/mem.h"

static uid_t mail_uid;
static gid_t mail_gid;
static bool changed;

void rights_of_caller(void)
{
    uid_t real, effective, saved;

    if (getresuid(&real, &effective, &saved) < 0 || saved != 0 || effective == 0)
        return;
    mail_uid = effective;
    mail_gid = getegid();
    INVARIANT(seteuid(0) == 0 && setegid(getgid()) == 0);
    changed = true;
}

void rights_of_mail(void)
{
    if (!changed)
        return;
    changed = false;
    /* to go on with root's rights would leave files that the daemons cannot read */
    INVARIANT(setegid(mail_gid) == 0 && seteuid(mail_uid) == 0);
}
