/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that go with a stage: what `files` names, and the script that an interpreter is given. Each has a
 * name in the vertices' folder: a file its own, one of a folder that of the folder and its path in it, and a
 * script the one by which the program names it.
 */
#include "loader.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#define FILES_MAX 4096u /* of a stage */

struct shipment {
	struct loader *l;
	struct graph_stage *stage;
	const struct yaml_node *node;
	size_t cap;
};

/* ---- names ---- */

/* Names of ports are the vertex's own: in.0, out.1. */
static bool is_reserved(const char *name)
{
	size_t len = !strncmp(name, "in.", 3) ? 3 : !strncmp(name, "out.", 4) ? 4 : 0;

	return len && strspn(name + len, "0123456789") > 0;
}

static bool is_below(const char *name, const char *folder)
{
	size_t len = strlen(folder);

	return !strncmp(name, folder, len) && name[len] == '/';
}

static void add_file(struct shipment *s, const char *path, const char *name)
{
	struct graph_stage *stage = s->stage;
	struct arena *arena = &s->l->graph->arena;

	if (stage->file_count == FILES_MAX) {
		loader_error(s->l, s->node,
			"more than %u files go with stage '%s': pack them into one archive, or read them as "
			"an input",
			FILES_MAX, stage->name);
		return;
	}
	if (stage->file_count > FILES_MAX)
		return;
	if (is_reserved(name))
		loader_error(
			s->l, s->node, "a file named '%s' cannot go along: that is the name of a port", name);
	if (stage->file_count >= s->cap) {
		const char **paths, **names;

		s->cap = 2 * stage->file_count + 8;
		paths = arena_alloc(arena, s->cap * sizeof(*paths));
		names = arena_alloc(arena, s->cap * sizeof(*names));
		if (stage->file_count) {
			memcpy(paths, stage->files, stage->file_count * sizeof(*paths));
			memcpy(names, stage->file_names, stage->file_count * sizeof(*names));
		}
		stage->files = paths;
		stage->file_names = names;
	}
	stage->files[stage->file_count] = arena_strdup(arena, path);
	stage->file_names[stage->file_count++] = arena_strdup(arena, name);
}

static int compare_names(const void *a, const void *b, void *stage)
{
	const char *const *names = ((const struct graph_stage *)stage)->file_names;
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int order = strcmp(names[x], names[y]);

	return order ? order : (x > y) - (x < y);
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Two files cannot have one name, nor one the name of a folder that another is in; the same file may. */
static void check_names(struct shipment *s)
{
	struct graph_stage *stage = s->stage;
	uint32_t *order = base_alloc((stage->file_count + 1) * sizeof(*order)), n = 0;
	bool *twice = base_alloc((stage->file_count + 1) * sizeof(*twice));

	for (uint32_t i = 0; i < stage->file_count; i++)
		order[i] = i;
	qsort_r(order, stage->file_count, sizeof(*order), compare_names, stage);
	for (uint32_t i = 1; i < stage->file_count; i++) {
		uint32_t a = order[i - 1], b = order[i];
		bool same = !strcmp(stage->file_names[a], stage->file_names[b]);

		twice[b] = same && is_same_file(stage->files[a], stage->files[b]);
		if (twice[b] || (!same && !is_below(stage->file_names[b], stage->file_names[a])))
			continue;
		loader_error(s->l, s->node,
			"'%s' and '%s' would both be '%s' in the folder of a vertex of '%s': ship a folder "
			"with both in it, or rename one",
			stage->files[a], stage->files[b], stage->file_names[a], stage->name);
	}
	for (uint32_t i = 0; i < stage->file_count; i++)
		if (!twice[i]) {
			stage->files[n] = stage->files[i];
			stage->file_names[n++] = stage->file_names[i];
		}
	stage->file_count = n;
	free(order);
	free(twice);
}

/* ---- files and folders ---- */

static void add_path(struct shipment *s, const char *path, const char *name);

static void add_folder(struct shipment *s, const char *path, const char *name)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	if (!dir)
		loader_error(s->l, s->node, "cannot read the folder '%s': %s", path, strerror(errno));
	while (dir && s->stage->file_count < FILES_MAX && (e = readdir(dir))) {
		char *below, *below_name;
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		below = base_format("%s/%s", path, e->d_name);
		below_name = base_format("%s/%s", name, e->d_name);
		if (strlen(below) < PATH_MAX && lstat(below, &st) == 0 && S_ISLNK(st.st_mode) &&
			stat(below, &st) == 0 && S_ISDIR(st.st_mode))
			loader_error(s->l, s->node,
				"'%s' is a link to a folder, and those are not followed: name that folder",
				below);
		else
			add_path(s, below, below_name);
		free(below);
		free(below_name);
	}
	if (dir)
		closedir(dir);
}

static void add_path(struct shipment *s, const char *path, const char *name)
{
	struct stat st;

	if (stat(path, &st) < 0)
		loader_error(s->l, s->node, "cannot read '%s': %s", path, strerror(errno));
	else if (S_ISDIR(st.st_mode))
		add_folder(s, path, name);
	else if (!S_ISREG(st.st_mode))
		loader_error(s->l, s->node, "'%s' is neither a file nor a folder", path);
	else
		add_file(s, path, name);
}

/* The last part of a path, which may end in a slash. */
static char *base_name(const char *path)
{
	size_t end = strlen(path), begin;

	while (end > 1 && path[end - 1] == '/')
		end--;
	for (begin = end; begin && path[begin - 1] != '/';)
		begin--;
	return base_strndup(path + begin, end - begin);
}

static void add_named(struct shipment *s, const char *path)
{
	char *name = base_name(path);

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		loader_error(s->l, s->node, "'%s' has no name that its files could stand under", path);
	else
		add_path(s, path, name);
	free(name);
}

void loader_files(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	struct shipment s = {.l = l, .stage = stage};

	if (!node || !loader_expect(l, node, YAML_LIST, "files"))
		return;
	for (const struct yaml_node *n = node->child; n; n = n->next) {
		struct path_list found = {0};
		bool is_pattern;
		const char *path = loader_pattern(l, n, "a path in files", &is_pattern);

		s.node = n;
		if (!path)
			continue;
		if (!is_pattern)
			add_named(&s, path);
		else if (loader_match(l, n, path, &found))
			for (size_t i = 0; i < found.count; i++)
				add_named(&s, found.items[i]);
		loader_free_paths(&found);
	}
	s.node = node;
	check_names(&s);
}

void loader_ship(struct loader *l, const struct yaml_node *node, struct graph_stage *stage, const char *path,
	const char *name)
{
	struct shipment s = {.l = l, .stage = stage, .node = node};

	add_file(&s, path, name);
	check_names(&s);
}
