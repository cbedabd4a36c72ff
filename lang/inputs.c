/* SPDX-License-Identifier: Apache-2.0 */
/* The `inputs` section: paths and globs to files, files to splits. */
#include "loader.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef CONFIGFS_MAGIC /* of the kernel's own headers only */
#define CONFIGFS_MAGIC 0x62656570
#endif

struct file_list {
	struct graph_file *items;
	size_t count, cap;
};

#define INPUT_FILES_MAX 1000000u

/*
 * Files that are made when they are read say that they have no bytes, or a page of them. Whatever else a size
 * of 0 may be of, a byte that can be read proves it wrong.
 */
static bool has_true_size(const char *path, const struct stat *st)
{
	static const long made[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC,
		SECURITYFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, SELINUX_MAGIC, CONFIGFS_MAGIC};
	struct statfs fs;
	char byte;
	int fd;
	bool empty;

	/* Those have a device of their own, without a disk; of others nothing more is asked. */
	if (major(st->st_dev) == 0 && statfs(path, &fs) == 0)
		for (size_t i = 0; i < DAG_LENGTH(made); i++)
			if ((long)fs.f_type == made[i])
				return false;
	if (st->st_size)
		return true;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return true; /* who reads it says why */
	empty = read(fd, &byte, 1) <= 0;
	close(fd);
	return empty;
}

static void add_file(
	struct loader *l, const struct yaml_node *node, const char *path, struct file_list *files)
{
	struct stat st;

	if (files->count >= INPUT_FILES_MAX) {
		loader_error(l, node, "more than %u files in one input", INPUT_FILES_MAX);
		return;
	}
	if (stat(path, &st) < 0) {
		loader_error(l, node, "cannot read '%s': %s", path, strerror(errno));
		return;
	}
	if (S_ISDIR(st.st_mode)) {
		loader_error(l, node, "'%s' is a folder; to read the files in it write '%s/*'", path, path);
		return;
	}
	if (!S_ISREG(st.st_mode)) {
		loader_error(l, node, "'%s' is %s and not a file; to read it use \"-\" and redirect stdin",
			path,
			S_ISFIFO(st.st_mode)   ? "a named pipe"
			: S_ISSOCK(st.st_mode) ? "a socket"
					       : "a device");
		return;
	}
	if (!has_true_size(path, &st)) {
		loader_error(l, node,
			"'%s' is made when it is read, and has no size that is true; read it by a stage (sh: "
			"\"cat "
			"%s\"), or as \"-\" with stdin redirected from it",
			path, path);
		return;
	}
	*DAG_APPEND(files->items, files->count, files->cap) =
		(struct graph_file){arena_strdup(&l->graph->arena, path), (uint64_t)st.st_size,
			st.st_mtim.tv_sec * DAG_SECOND + st.st_mtim.tv_nsec, st.st_ino};
}

static void add_path(struct loader *l, const struct yaml_node *node, struct file_list *files)
{
	struct path_list found = {0};
	bool is_pattern;
	const char *path = loader_pattern(l, node, "a path in files", &is_pattern);

	if (!path)
		return;
	if (is_pattern) {
		if (loader_match(l, node, path, &found))
			for (size_t i = 0; i < found.count; i++)
				add_file(l, node, found.items[i], files);
		loader_free_paths(&found);
		return;
	}
	if (strcmp(path, "-"))
		add_file(l, node, path, files);
	else if (l->options->stdin_path)
		add_file(l, node, l->options->stdin_path, files);
	else
		*DAG_APPEND(files->items, files->count, files->cap) = (struct graph_file){"-", 0, 0, 0};
}

static void split_files(
	struct loader *l, const struct yaml_node *node, struct graph_stage *stage, uint64_t split)
{
	struct graph_format format = stage->out[0].format;
	uint64_t total = 0, at = 0;

	stage->split = split > 0;
	if (split && format.kind == DAG_FORMAT_BYTES) {
		loader_error(l, node, "bytes are never split: leave out 'split' of input '%s'", stage->name);
		return;
	}
	if (format.kind == DAG_FORMAT_FIXED && split)
		split = DAG_MAX(split / format.size, 1u) * format.size;
	for (uint32_t i = 0; i < stage->input_file_count; i++) {
		uint64_t size = stage->input_files[i].size;

		if (format.kind == DAG_FORMAT_FIXED && size % format.size)
			loader_error(l, node,
				"'%s' has %llu bytes, which is no multiple of the record size %u",
				stage->input_files[i].path, (unsigned long long)size, format.size);
		total += split && size ? (size - 1) / split + 1 : 1;
	}
	if (total > GRAPH_WIDTH_MAX) {
		loader_error(l, node, "input '%s' has %llu splits; the limit is %u: make 'split' larger",
			stage->name, (unsigned long long)total, GRAPH_WIDTH_MAX);
		return;
	}
	stage->splits = arena_alloc(&l->graph->arena, (total + 1) * sizeof(*stage->splits));
	for (uint32_t i = 0; i < stage->input_file_count; i++) {
		uint64_t size = stage->input_files[i].size, offset = 0;

		do {
			uint64_t length = split ? DAG_MIN(split, size - offset) : size;

			stage->splits[at++] = (struct graph_split){i, offset, length};
			offset += length;
		} while (offset < size);
	}
	stage->width = (uint32_t)total;
	stage->width_given = true;
}

static void load_input(struct loader *l, const struct yaml_node *node)
{
	static const char *const keys[] = {"files", "split", "shared", "format"};
	struct graph_stage *stage = graph_add_stage(l->graph, GRAPH_INPUT, node->key->text);
	const struct yaml_node *files = yaml_get(node, "files");
	struct file_list list = {0};
	uint64_t split = 0;

	stage->place = loader_place(l, node->key);
	stage->width = 1;
	if (!loader_map(l, node, "an input", "{files: \"*.txt\"}"))
		return;
	loader_check_keys(l, node, keys, DAG_LENGTH(keys), "an input");
	loader_bool(l, yaml_get(node, "shared"), "shared", &stage->shared);
	stage->format_said = yaml_get(node, "format") != NULL;
	loader_format(l, yaml_get(node, "format"), &stage->out[0].format);
	loader_bytes(l, yaml_get(node, "split"), "split", &split);
	if (!files) {
		loader_error(l, node->key, "input '%s' has no files", stage->name);
		return;
	}
	if (files->kind == YAML_LIST)
		for (const struct yaml_node *n = files->child; n; n = n->next)
			add_path(l, n, &list);
	else
		add_path(l, files, &list);
	stage->input_files = arena_alloc(&l->graph->arena, (list.count + 1) * sizeof(*list.items));
	if (list.count)
		memcpy(stage->input_files, list.items, list.count * sizeof(*list.items));
	stage->input_file_count = (uint32_t)list.count;
	free(list.items);
	if (stage->input_file_count)
		split_files(l, files, stage, split);
	else if (files->kind == YAML_LIST && !files->count)
		loader_error(l, files, "input '%s' has no files", stage->name);
}

void loader_inputs(struct loader *l, const struct yaml_node *root)
{
	const struct yaml_node *inputs = yaml_get(root, "inputs");

	if (!inputs || !loader_map(l, inputs, "inputs", "{text: {files: \"*.txt\"}}"))
		return;
	for (const struct yaml_node *n = inputs->child; n; n = n->next)
		if (loader_name(l, n->key, "an input"))
			load_input(l, n);
}
