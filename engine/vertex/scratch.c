/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder that an attempt has for itself. One that is left as it was made gets the name of the next
 * attempt that wants one: to make a folder and to remove it costs a tenth of a small program.
 */
#include "scratch.h"
#include "task.h"
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool take_kept(struct host *host, const char *path)
{
	char *kept;
	bool taken;

	pthread_mutex_lock(&host->lock);
	kept = host->kept_scratch;
	host->kept_scratch = NULL;
	pthread_mutex_unlock(&host->lock);
	taken = kept && rename(kept, path) == 0;
	free(kept);
	return taken;
}

const char *scratch_make(struct dag_vertex *v)
{
	if (v->scratch)
		return v->scratch;
	v->scratch = base_format("%s/%u-%u", v->stage->spec.scratch, v->vertex, v->attempt);
	if (!take_kept(v->host, v->scratch) && os_make_folders(v->scratch) < 0) {
		task_fail(v, errno == ENOSPC ? DAG_ENOSPC : DAG_EIO,
			base_format("cannot make the scratch folder %s: %s", v->scratch, strerror(errno)));
		return NULL;
	}
	return v->scratch;
}

/* Whether it is empty and ours alone, as os_make_folders makes them. */
static bool is_as_made(const char *path)
{
	DIR *dir = opendir(path);
	struct stat st;
	int entries = 0;
	bool same;

	if (!dir)
		return false;
	while (entries <= 2 && readdir(dir))
		entries++;
	same = fstat(dirfd(dir), &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 07777) == 0700;
	closedir(dir);
	return entries <= 2 && same;
}

bool scratch_keep(struct dag_vertex *v)
{
	struct host *host = v->host;
	bool kept = false;

	if (!is_as_made(v->scratch))
		return false;
	pthread_mutex_lock(&host->lock);
	if (!host->kept_scratch) {
		host->kept_scratch = base_strdup(v->scratch);
		kept = true;
	}
	pthread_mutex_unlock(&host->lock);
	return kept;
}

void scratch_drop(struct host *host)
{
	if (host->kept_scratch)
		rmdir(host->kept_scratch);
	free(host->kept_scratch);
	host->kept_scratch = NULL;
}
