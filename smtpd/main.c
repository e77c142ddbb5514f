/* smtpd: one program, three roles (doc/ARCHITECTURE, "processes"). */
#include "smtpd/roles.h"

int main(int argc, char **argv)
{
    static const struct role_ops *const roles[] = {
        &smtpd_parent_role, &smtpd_front_role, &smtpd_deliver_role, NULL};

    return role_main(argc, argv, roles);
}
