/*
 * sandbox_calls: groups of system calls for the rows of the sandbox table. A call that is in no group of a
 * row is refused there. Calls that mix harmless and harmful uses are allowed by argument.
 */
#ifndef COMMON_SANDBOX_CALLS_H
#define COMMON_SANDBOX_CALLS_H

#define CALLS_BASE (1u << 0)   /* memory, time, signals of its own, epoll, messages on sockets it was given */
#define CALLS_ACCEPT (1u << 1) /* accept on listening sockets it was given */
#define CALLS_READ (1u << 2)   /* open and read files; Landlock says which */
#define CALLS_WRITE (1u << 3)  /* write, link, rename, remove, make folders, sync; Landlock says where */
#define CALLS_KV (1u << 4)     /* what Berkeley DB needs beyond that */
#define CALLS_THREADS (1u << 5) /* threads of its own */
#define CALLS_SPAWN (1u << 6)   /* fork and fence in a child */
#define CALLS_MEMFD (1u << 7)   /* memory files, sealed */
#define CALLS_WATCH (1u << 8)   /* inotify */
#define CALLS_CONNECT (1u << 9) /* sockets of its own to the network */
#define CALLS_NAMES (1u << 10)  /* their addresses, here and there */

/* ctx: a scmp_filter_ctx; -1 with errno. */
int sandbox_calls_add(void *ctx, unsigned groups);

#endif
