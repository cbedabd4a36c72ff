/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OS_OS_H
#define OS_OS_H
/* What the shells need of the system: clocks, folders, durable files. Pure code never includes this. */
#include "base/diag.h"

#include <sys/types.h>

dag_instant os_now(void);      /* CLOCK_MONOTONIC */
dag_instant os_boottime(void); /* CLOCK_BOOTTIME: counts suspend, for leases */
uint64_t os_random(void);
/* Random bytes that nobody can guess; 256 at most. */
void os_draw(void *bytes, size_t len);

/* A thread of this process that is woken waits for its turn, and pushes nobody off a core. What it starts
 * does so too. Called before it has a second thread. */
void os_be_patient(void);
/* The core that this thread runs on. */
int os_core(void);
/*
 * This thread may run where that process may, which whoever binds this thread binds before it: so no binding
 * that comes meanwhile is undone. Where that process is gone, nothing changes.
 */
void os_bind_as(pid_t bound_before);
/* Likewise; and where this thread runs on that core and may run on another, it is moved to one at once. */
void os_leave_core(int core, pid_t bound_before);

/*
 * A bell: a descriptor (an eventfd) that becomes readable when it is rung, from any thread or process, until
 * it is hushed. −1 with errno where there is none to be had; closed with close(). Ringing cannot fail.
 */
int os_bell_new(void);
void os_bell_ring(int bell);
void os_bell_hush(int bell);

/* mkdir -p with mode 0700; 0 or DAG_EIO with errno. */
int os_make_folders(const char *path);
/*
 * A folder of ours alone: made (0700) where it is missing, no link, this user's, and nobody else writes to
 * it. A descriptor of it, or negative; then *ret_why is why not, to be put behind its name: allocated.
 */
int os_open_own_folder(const char *path, char **ret_why);
/* Removes a folder and all below it, following no links. Missing is fine. */
void os_remove_tree(const char *path);
/* The program that PATH has under this name, allocated; NULL where there is none, or where that depends on
 * the folder. */
char *os_find_program(const char *name);
/* Writes all of it at that place. 0 or an errno. */
int os_write_at(int fd, const void *data, size_t len, uint64_t at);
/*
 * The same, past the page cache where the file system can: for what is so large that it would push everything
 * else out of it. Nobody else may write by this open file meanwhile, nor by a copy of its descriptor.
 */
int os_write_direct(int fd, const void *data, size_t len, uint64_t at);
/* fsync of a file or folder by its path; DAG_EIO with errno. */
int os_sync_path(const char *path);
/* The folder of this program's own file, and a file in it or beside its build: caller frees. */
char *os_program_folder(void);
/*
 * $XDG_STATE_HOME/dagrun, or .local/state/dagrun of the home folder, made if missing, and ours alone
 * (os_open_own_folder). Allocated; NULL where it cannot be: *ret_why says why not, in a sentence.
 */
char *os_state_folder_or(char **ret_why);
/* The same; nobody asks why. */
char *os_state_folder(void);
/* The path as the kernel would see it from here; never fails, caller frees. */
char *os_absolute_path(const char *path);
/*
 * Says what is wrong, a line each, to `say`; where that is NULL to stderr, after the program's name where no
 * file is named. Empties it.
 */
typedef void os_say_fn(void *ctx, const char *text);
void os_tell(struct dag_diag *diag, const char *program, os_say_fn *say, void *ctx);
/* False where this process has but few descriptors left, which those need that cannot do without: work that
 * takes more is refused. */
bool os_has_descriptors(void);
/* Vertices that can run at a time with the descriptors that this process may have. */
uint32_t os_slots_max(void);
/* Why a file could not be written, in words; of a limit its size. Lives in ret. */
#define OS_FILE_ERROR_LEN 128
const char *os_file_error(int error, char ret[OS_FILE_ERROR_LEN]);
/* False in shared memory. */
bool os_is_on_disk(int fd);
/* True on a file system of another machine, where SQLite's locks cannot be trusted. */
bool os_is_network_fs(const char *path);
/* In a build that measures coverage: writes down what was counted so far, since a host may be killed at any
 * moment. Else nothing. */
#ifdef DAG_COVERAGE
void os_write_coverage(void);
#else
static inline void os_write_coverage(void)
{
}
#endif
/* Bytes of memory, and cores, that this process may use of the machine, or of the container that it is in.
 * Each call reads a dozen small files. */
uint64_t os_memory(void);
int os_cores(void);

#endif
