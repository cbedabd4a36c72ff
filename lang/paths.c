/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns of paths. The C library knows all of them but `**`, which goes through folders as bash's globstar
 * does: hidden ones and links to folders are left out, and no folder at all is enough.
 */
#include "loader.h"
#include "base/buffer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

struct search {
	struct path_list *list;
	size_t folders; /* that `**` went into */
	int error;
	char *where; /* that `error` is about */
};

static void stop(struct search *s, int error, const char *where)
{
	if (s->error)
		return;
	s->error = error;
	s->where = base_strdup(where);
}

static void add_path(struct search *s, const char *path)
{
	struct stat st;

	if (s->list->count >= PATHS_MAX)
		stop(s, E2BIG, path);
	/* A pattern means files: folders that happen to match are passed over. */
	else if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		*DAG_APPEND(s->list->items, s->list->count, s->list->cap) = base_strdup(path);
}

/* A name that a folder has, as a pattern that means it alone. */
static void put_name(struct buffer *b, const char *name)
{
	for (; *name; name++)
		buffer_format(b, strchr("*?[\\", *name) ? "\\%c" : "%c", *name);
}

/* The first component that is `**`, or NULL. */
static const char *find_stars(const char *pattern)
{
	for (const char *c = pattern; (c = strstr(c, "**")); c += 2)
		if ((c == pattern || c[-1] == '/') && (!c[2] || c[2] == '/'))
			return c;
	return NULL;
}

static void match(struct search *s, const char *pattern);

/* `folder`, and all folders below it, with `rest` behind each. */
static void walk(struct search *s, const char *folder, const char *rest)
{
	struct buffer b = {0};
	struct dirent *e;
	DIR *dir;

	put_name(&b, folder);
	buffer_format(&b, "/%s", *rest ? rest : "*");
	buffer_append(&b, "", 1);
	match(s, (char *)b.data);
	buffer_fini(&b);
	if (++s->folders > PATHS_MAX)
		stop(s, E2BIG, folder);
	dir = s->error ? NULL : opendir(folder);
	if (!dir && !s->error)
		stop(s, errno, folder);
	while (dir && !s->error && (e = readdir(dir))) {
		struct stat st;
		char *path;

		if (e->d_name[0] == '.' || (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN))
			continue;
		path = base_format("%s/%s", folder, e->d_name);
		if (e->d_type == DT_DIR || (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)))
			walk(s, path, rest);
		free(path);
	}
	if (dir)
		closedir(dir);
}

static void match(struct search *s, const char *pattern)
{
	const char *stars = find_stars(pattern);
	char *start = stars ? base_strndup(pattern, (size_t)(stars - pattern)) : base_strdup(pattern);
	glob_t found = {0};
	int r = glob(start, GLOB_ERR | (stars ? GLOB_ONLYDIR : 0), NULL, &found);

	if (r == GLOB_ABORTED && errno != ENOENT && errno != ENOTDIR)
		stop(s, errno, pattern);
	for (size_t i = 0; r == 0 && i < found.gl_pathc && !s->error; i++) {
		char *path = found.gl_pathv[i];
		size_t len = strlen(path);
		struct stat st;

		if (!stars) {
			add_path(s, path);
			continue;
		}
		while (len > 1 && path[len - 1] == '/')
			path[--len] = 0;
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			walk(s, path, stars[2] ? stars + 3 : "");
	}
	globfree(&found);
	free(start);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Several `**` of one pattern may find a file twice. */
static void sort(struct path_list *list)
{
	size_t n = 0;

	if (list->count)
		qsort(list->items, list->count, sizeof(*list->items), compare);
	for (size_t i = 0; i < list->count; i++)
		if (n && !strcmp(list->items[n - 1], list->items[i]))
			free(list->items[i]);
		else
			list->items[n++] = list->items[i];
	list->count = n;
}

bool loader_match(struct loader *l, const struct yaml_node *node, const char *pattern, struct path_list *ret)
{
	struct search s = {.list = ret};
	size_t len = strlen(pattern);
	struct stat st;

	if (pattern[len - 1] == '/') {
		loader_error(l, node,
			"'%s' ends in '/', so that it means folders alone, and files are wanted: '%s*'",
			pattern, pattern);
		return false;
	}
	match(&s, pattern);
	sort(ret);
	if (s.error == E2BIG)
		loader_error(l, node, "'%s' means more than %u files or folders", pattern, PATHS_MAX);
	else if (s.error)
		loader_error(l, node, "'%s': cannot read '%s': %s", pattern, s.where, strerror(s.error));
	else if (!ret->count && lstat(pattern, &st) == 0) /* `[1].txt` is a name too */
		add_path(&s, pattern);
	if (!s.error && !ret->count)
		loader_error(l, node, "no file matches '%s'", pattern);
	free(s.where);
	return !s.error && ret->count;
}

void loader_free_paths(struct path_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct path_list){0};
}
