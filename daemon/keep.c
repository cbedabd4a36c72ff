/* SPDX-License-Identifier: Apache-2.0 */
#include "keep.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct keep {
	int fd;
	char *path;
};

static uint64_t check_of(const struct keep_record *r)
{
	return hash_128((const char *)r + sizeof(r->check), sizeof(*r) - sizeof(r->check)).low;
}

static void apply(struct keep_record *records, size_t *count, const struct keep_record *r)
{
	for (size_t i = 0; i < *count;) {
		bool same = !strncmp(records[i].job, r->job, sizeof(r->job));
		bool it = same && records[i].vertex == r->vertex && records[i].attempt == r->attempt;

		if (it && r->kind == KEEP_ACKED)
			records[i].acked = true;
		if ((it && r->kind == KEEP_GONE) || (same && r->kind == KEEP_JOB_GONE)) {
			records[i] = records[--*count];
			continue;
		}
		i++;
	}
}

struct keep_record *keep_load(const char *folder, size_t *ret_count)
{
	char *path = base_format("%s/sealed", folder);
	FILE *f = fopen(path, "rbe");
	struct keep_record r, *records = NULL;
	size_t cap = 0;

	free(path);
	*ret_count = 0;
	while (f && fread(&r, sizeof(r), 1, f) == 1 && r.check == check_of(&r)) {
		r.job[sizeof(r.job) - 1] = 0;
		if (r.kind == KEEP_SEALED)
			*DAG_APPEND(records, *ret_count, cap) = r;
		else
			apply(records, ret_count, &r);
	}
	if (f)
		fclose(f);
	return records;
}

static void append(struct keep *k, struct keep_record *r)
{
	r->check = check_of(r);
	/* What cannot be kept is lost with the daemon, and made again. */
	if (write(k->fd, r, sizeof(*r)) != (ssize_t)sizeof(*r))
		errno = 0;
}

struct keep *keep_new(const char *folder, const struct keep_record *records, size_t n)
{
	char *path = base_format("%s/sealed", folder), *temporary = base_format("%s/sealed.new", folder);
	struct keep *k = base_alloc(sizeof(*k));

	k->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	for (size_t i = 0; i < n && k->fd >= 0; i++) {
		struct keep_record r = records[i];

		r.kind = KEEP_SEALED;
		r.acked = 0;
		append(k, &r);
		if (records[i].acked)
			keep_note(k, KEEP_ACKED, r.job, r.vertex, r.attempt, NULL);
	}
	if (k->fd < 0 || rename(temporary, path) < 0) {
		if (k->fd >= 0)
			close(k->fd);
		free(k);
		k = NULL;
	}
	if (k)
		k->path = path;
	else
		free(path);
	free(temporary);
	return k;
}

void keep_destroy(struct keep **keep)
{
	if (!*keep)
		return;
	close((*keep)->fd);
	unlink((*keep)->path);
	free((*keep)->path);
	free(*keep);
	*keep = NULL;
}

void keep_note(struct keep *keep, enum keep_kind kind, const char *job, uint32_t vertex, uint32_t attempt,
	const struct block_ref *index)
{
	struct keep_record r;

	if (!keep)
		return;
	memset(&r, 0, sizeof(r));
	r.kind = kind;
	r.vertex = vertex;
	r.attempt = attempt;
	if (index)
		r.index = *index;
	snprintf(r.job, sizeof(r.job), "%s", job);
	append(keep, &r);
}
