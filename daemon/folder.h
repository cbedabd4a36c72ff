/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_FOLDER_H
#define DAEMON_FOLDER_H
/* The folders of a daemon's spool, by descriptors of them (os_open_own_folder), and whose they are. */
#include "base/base.h"

#include <dirent.h>

/* To go through its entries, beside the descriptor; NULL with errno. */
DIR *folder_list(int folder);
/* Takes its lock; *ret_fd stays open as long as it is used. DAG_EBUSY where another has it, DAG_EIO with
 * errno. */
int folder_lock(int folder, int *ret_fd);
/* The same for the folder on disk, and says whose it is: for what is left of one whose process is gone, it
 * waits. */
int folder_own(int folder, int *ret_fd);
/* Removes shared memory of this user's daemons that are dead and do not come again, but of the name `ours`;
 * NULL: of none. How many. */
size_t folder_remove_dead(const char *ours);

#endif
