/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a job that does not run any more left beside its outputs. A publication that was cut in the midst is
 * taken back before: then the names are those of new files again.
 */
#include "output.h"
#include "base/buffer.h"
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST_MAX (256u << 20)

/* Unless another job has taken it. */
static void remove_lock(const char *path)
{
	char *lock = output_lock_path(path);
	int fd = open(lock, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
		flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlink(lock);
	if (fd >= 0)
		close(fd);
	free(lock);
}

/* Where a vertex's file is a link, it was written elsewhere. */
static void remove_behind_link(const char *folder, const char *name, const char *pattern, const char *job)
{
	const char *base = strrchr(pattern, '/') + 1, *index = strstr(base, "{index}");
	size_t before = index ? (size_t)(index - base) : 0;
	char *path, *followed, *temporary;

	if (!index || strncmp(name, base, before))
		return;
	path = base_format("%s/%s", folder, name);
	followed = output_follow(path);
	temporary = followed ? output_temporary(followed, job) : NULL;
	if (temporary)
		unlink(temporary);
	free(temporary);
	free(followed);
	free(path);
}

static void remove_of_vertices(const char *pattern, const char *job)
{
	char *temporary = output_temporary(pattern, job), *folder = output_folder(pattern),
	     *start = base_format("%s-", strrchr(temporary, '/') + 1);
	DIR *dir = opendir(folder);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (!strncmp(e->d_name, start, strlen(start)))
			unlinkat(dirfd(dir), e->d_name, 0);
		else if (e->d_type == DT_LNK)
			remove_behind_link(folder, e->d_name, pattern, job);
	if (dir)
		closedir(dir);
	free(temporary);
	free(folder);
	free(start);
}

static void remove_output(const char *path, bool per_vertex, const char *job)
{
	char *temporary = output_temporary(path, job);

	unlink(temporary);
	if (per_vertex)
		remove_of_vertices(path, job);
	remove_lock(path);
	free(temporary);
}

static void remove_listed(const char *list, const char *job)
{
	int fd = open(list, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct buffer b = {0};
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size && st.st_size <= LIST_MAX) {
		buffer_extend(&b, (size_t)st.st_size);
		if (pread(fd, b.data, b.len, 0) != st.st_size)
			b.len = 0;
	}
	if (fd >= 0)
		close(fd);
	for (size_t at = 0; at < b.len;) {
		const char *word = (char *)b.data + at;
		size_t len = strnlen(word, b.len - at);

		at += len + 1;
		if (at <= b.len && len > 2 && word[1] == '/')
			remove_output(word + 1, *word == 'v', job);
	}
	buffer_fini(&b);
}

int outputs_give_up(const char *job_folder, const char *job)
{
	char *note = base_format("%s/" OUTPUTS_NOTE, job_folder),
	     *list = base_format("%s/" OUTPUTS_LIST, job_folder);
	struct exchange x = {0};
	int r = 0;

	if (exchange_read(&x, note)) {
		if (exchange_undo(&x)) {
			exchange_drop(&x);
			unlink(note);
		} else
			r = DAG_EIO;
	}
	if (r == 0)
		remove_listed(list, job);
	exchange_fini(&x);
	free(note);
	free(list);
	return r;
}
