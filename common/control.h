/*
 * control: the socket of the postamt command, for the daemon that answers it: connections are taken from
 * administrators only (ipc_peer_is_admin), each ADMIN_REQUEST is handed on, what comes back is sent as
 * ADMIN_ITEMs and an ADMIN_END.
 */
#ifndef COMMON_CONTROL_H
#define COMMON_CONTROL_H

#include "common/call.h"
#include "common/ipc.h"

struct control;

/*
 * Answers one request, at once: item(to, json) for each object, then ERR_OK, or a code with `why` ("what
 * happened; what to do"; empty: the words of the code's row).
 */
typedef enum err_code control_handler(
    void *ctx, struct slice request, void (*item)(void *to, struct slice json), void *to, struct buf *why);

/* fd: a listening SOCK_SEQPACKET socket, taken over. admin_group: whose members are answered besides root
 * and our own user; (gid_t)-1: nobody's. */
struct control *control_new(
    struct event_base *base, int fd, gid_t admin_group, control_handler *handler, void *ctx);
/* When the loop runs no more: open connections still know it. NULL is nothing. */
void control_free(struct control *c);

#endif
