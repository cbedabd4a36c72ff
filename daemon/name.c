/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number is held twice: by a file's lock among the daemons of one user, which also notes that he has had
 * it, and by the name of a socket among all of the machine. Both go with the process.
 */
#include "name.h"
#include "os/os.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NAME_MAX_LEN 63u
#define NUMBERS_MAX 1000u

bool name_is_good(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return len && !name[len] && len <= NAME_MAX_LEN && isalnum((unsigned char)*name);
}

/* Without its domain, and what a name cannot have. */
static void host_name(char host[48])
{
	char name[256] = "";

	gethostname(name, sizeof(name) - 1);
	name[strcspn(name, ".")] = 0;
	snprintf(host, 48, "%.40s", name);
	for (char *c = host; *c; c++)
		if (!isalnum((unsigned char)*c))
			*c = '-';
	if (!isalnum((unsigned char)*host))
		snprintf(host, 48, "node");
}

/* An abstract socket: its name lies in no folder. */
static int hold_on_machine(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "dagrun-node-%s", name),
	    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address,
			       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Whether it is ours from now on; `had`: only one that a daemon of this user has had before. */
static bool hold(int folder, const char *name, bool had)
{
	int machine, file;

	if (had && faccessat(folder, name, F_OK, 0) < 0)
		return false;
	machine = hold_on_machine(name);
	if (machine < 0)
		return false;
	file = openat(folder, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0)
		return true;
	if (file >= 0)
		close(file);
	close(machine);
	return false;
}

char *name_choose(const char *state)
{
	char host[48], *path = base_format("%s/nodes", state), *why = NULL, *name = NULL;
	int folder = os_open_own_folder(path, &why);

	host_name(host);
	for (uint32_t i = 0; i < 2 * NUMBERS_MAX && folder >= 0 && !name; i++) {
		name = base_format("%s-%u", host, 1 + i % NUMBERS_MAX);
		if (!hold(folder, name, i < NUMBERS_MAX)) {
			free(name);
			name = NULL;
		}
	}
	if (folder >= 0)
		close(folder);
	free(path);
	free(why);
	return name;
}
