/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with an {index} that this job has not: an earlier run that was wider left them, and whoever reads the
 * whole folder reads two jobs. They are named, not removed. And those that it has, among the many that are
 * not there yet.
 */
#include "output.h"
#include "base/buffer.h"

#include <dirent.h>
#include <sys/stat.h>

#define NAMED_MAX 3u

/* The index in a name as we write it; false for any other name. */
static bool parse_index(
	const char *name, const char *before, size_t before_len, const char *after, uint64_t *ret)
{
	size_t digits;

	if (strncmp(name, before, before_len))
		return false;
	name += before_len;
	digits = strspn(name, "0123456789");
	if (!digits || digits > 9 || (*name == '0' && digits > 1) || strcmp(name + digits, after))
		return false;
	*ret = strtoull(name, NULL, 10);
	return true;
}

struct found {
	uint64_t *indices;
	size_t count, cap;
};

static int compare_indices(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static char *describe(
	const char *folder, const struct found *f, const char *before, int before_len, const char *after)
{
	struct buffer b = {0};

	buffer_format(&b, "%s still has %zu file%s of an earlier run that was wider: ", folder, f->count,
		f->count > 1 ? "s" : "");
	for (size_t i = 0; i < DAG_MIN(f->count, (size_t)NAMED_MAX); i++)
		buffer_format(&b, "%s%.*s%llu%s", i ? ", " : "", before_len, before,
			(unsigned long long)f->indices[i], after);
	if (f->count > NAMED_MAX)
		buffer_format(&b, ", …");
	buffer_append(&b, "", 1);
	return (char *)b.data;
}

char *output_earlier(const struct output *o, uint32_t width)
{
	char *folder, *text = NULL;
	const char *before, *after;
	struct found found = {0};
	struct dirent *e;
	struct stat st;
	uint64_t index;
	size_t len;
	DIR *dir;

	if (o->is_stream || !o->spec->per_vertex)
		return NULL;
	folder = output_folder(o->path);
	before = strrchr(o->path, '/') + 1;
	len = (size_t)(o->path + o->index_at - before);
	after = o->path + o->index_at + strlen("{index}");
	dir = opendir(folder);
	while (dir && (e = readdir(dir)))
		if (parse_index(e->d_name, before, len, after, &index) && index >= width &&
			fstatat(dirfd(dir), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			*DAG_APPEND(found.indices, found.count, found.cap) = index;
	if (dir)
		closedir(dir);
	if (found.count) {
		qsort(found.indices, found.count, sizeof(*found.indices), compare_indices);
		text = describe(folder, &found, before, (int)len, after);
	}
	free(found.indices);
	free(folder);
	return text;
}

size_t output_there(const struct graph_output *o, uint32_t width, uint32_t **ret)
{
	char *folder = output_folder(o->path);
	const char *before = strrchr(o->path, '/') + 1, *after = o->path + o->index_at + strlen("{index}");
	size_t count = 0, cap = 0, len = (size_t)(o->path + o->index_at - before);
	DIR *dir = opendir(folder);
	struct dirent *e;
	uint64_t index;

	*ret = NULL;
	while (dir && (e = readdir(dir)))
		if (parse_index(e->d_name, before, len, after, &index) && index < width)
			*DAG_APPEND(*ret, count, cap) = (uint32_t)index;
	if (dir)
		closedir(dir);
	free(folder);
	return count;
}
