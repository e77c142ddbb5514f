/*
 * sandbox: one table says what each kind of process may ask of the kernel.
 *
 * A row names groups of system calls (seccomp) and path rights (Landlock) below the folders of the settings;
 * no role has a right that is not in its row, and no role may write to or truncate a file below mail/
 * (doc/ARCHITECTURE). Entering sets no_new_privs, not dumpable, no core files, the Landlock rules, then the
 * system call filter. A refused call gets EPERM and a log line; with POSTAMT_SECCOMP=kill in the environment
 * (tests) the process is killed. POSTAMT_LANDLOCK_ABI=2 masks the rights to those of Debian 12's kernel; what
 * Landlock did not know then (truncation by open) the system call filter refuses.
 * Builds with sanitizers keep Landlock and leave the filter out: their run-time needs calls of its own.
 */
#ifndef COMMON_SANDBOX_H
#define COMMON_SANDBOX_H

#include "common/buf.h"
#include "common/err.h"
#include "common/settings.h"
#include "common/wiring.h"

/* Rows of the table: one for each role, and those of processes that are forked later. */
enum sandbox_id { SANDBOX_IMAPD_WORKER = ROLE_COUNT, SANDBOX_POP3D_WORKER, SANDBOX_COUNT };

const char *sandbox_name(unsigned id);

struct sandbox_filter; /* a compiled system call filter */

/* Compiles the filter of a row once; NULL in sanitizer builds or on failure (then e is set). */
struct sandbox_filter *sandbox_filter_new(unsigned id, struct err *e);
void sandbox_filter_free(struct sandbox_filter *f);

/*
 * Enters the row of a role. `lacks` gets a sentence when the kernel does not have what the table wants and
 * the settings allow that (sandbox = "optional"); else it is an error. Irreversible.
 */
int sandbox_enter(unsigned id, const struct settings *settings, struct buf *lacks, struct err *e);

/* A worker: the folders of its user by fd (path rights are given on these), a filter made before. */
int sandbox_enter_worker(
    unsigned id, int mail_dir, int state_dir, const struct sandbox_filter *f, struct err *e);

/* Before any row: no_new_privs and what else every process of ours wants from its first instruction. */
int sandbox_basics(struct err *e);

/* At postamtd's start: does the machine have what the table and the limits of the settings want? ERR_CONFIG.
 */
int sandbox_check(const struct settings *s, struct err *e);

/* Landlock's ABI as the kernel has it (masked by POSTAMT_LANDLOCK_ABI); 0: none. */
int sandbox_landlock_abi(void);
#define SANDBOX_ABI_TRUNCATE 3 /* from here on Landlock says who may cut a file */

#endif
