/* roles: the three processes of smtpd, for main.c's table. */
#ifndef SMTPD_ROLES_H
#define SMTPD_ROLES_H

#include "common/role.h"

extern const struct role_ops smtpd_parent_role;
extern const struct role_ops smtpd_front_role;
extern const struct role_ops smtpd_deliver_role;

#endif
