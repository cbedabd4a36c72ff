/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a plugin and telling what it declares. Its code, constructors too, runs in a host and nowhere else.
 */
#include "plugin.h"
#include "task.h"
#include "base/buffer.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Of plugins that were built before entries had a check. */
#define ENTRY_SIZE_MIN offsetof(struct dag_entry, check)

static bool is_shared_object(const char *path)
{
	unsigned char head[20] = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = read(fd, head, sizeof(head)) == sizeof(head) && !memcmp(head, ELFMAG, SELFMAG) &&
	     head[16] == ET_DYN;
	close(fd);
	return ok;
}

int plugin_open(const char *path, void **ret_library, const struct dag_plugin **ret_plugin, char **ret_error)
{
	const struct dag_plugin *plugin;
	void *library;

	if (!is_shared_object(path)) {
		*ret_error = base_format("%s is not a shared object", path);
		return DAG_ENOEXEC;
	}
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		*ret_error = base_format("cannot load plugin: %s", dlerror());
		return DAG_ENOEXEC;
	}
	plugin = dlsym(library, "dag_plugin");
	if (!plugin) {
		*ret_error = base_format("%s is no dagrun plugin: it declares no DAG_PLUGIN", path);
		dlclose(library);
		return DAG_ENOEXEC;
	}
	if (plugin->abi != DAG_ABI_VERSION || plugin->entry_size < ENTRY_SIZE_MIN) {
		*ret_error = base_format("plugin %s was built for ABI %u, this dagrun has %u; build it again",
			path, plugin->abi, DAG_ABI_VERSION);
		dlclose(library);
		return DAG_EVERSION;
	}
	*ret_library = library;
	*ret_plugin = plugin;
	return 0;
}

/* A later ABI may have larger entries; the step is the plugin's own. */
const struct dag_entry *plugin_entry(const struct dag_plugin *plugin, uint32_t i)
{
	return (const struct dag_entry *)((const char *)plugin->entries + (size_t)i * plugin->entry_size);
}

static int (*check_of(const struct dag_plugin *plugin, const struct dag_entry *e))(struct dag_vertex *)
{
	return plugin->entry_size > ENTRY_SIZE_MIN ? e->check : NULL;
}

static bool is_last(const struct dag_decl *d)
{
	return d->kind == DAG_PORT_END && !d->help;
}

/*
 * One fact a line, for the program that asked: "entry NAME FLAGS", "in FORMAT SIZE", "out FORMAT SIZE",
 * "check" where it looks at its parameters itself, "param KIND TEXT", "help TEXT", and "end" when all is
 * said.
 */
int plugin_describe(const char *path)
{
	const struct dag_plugin *plugin;
	void *library;
	char *error;

	if (plugin_open(path, &library, &plugin, &error) < 0) {
		printf("error %s\n", error);
		free(error);
		return 3;
	}
	printf("plugin %s\n", plugin->name);
	for (uint32_t i = 0; i < plugin->entry_count; i++) {
		const struct dag_entry *e = plugin_entry(plugin, i);

		printf("entry %s %u\n", e->name, e->flags);
		if (check_of(plugin, e))
			printf("check\n");
		for (size_t d = 0; d < DAG_LENGTH(e->decls) && !is_last(&e->decls[d]); d++) {
			if (e->decls[d].kind == DAG_PORT_END)
				printf("help %s\n", e->decls[d].help);
			else if (e->decls[d].kind == DAG_PORT_PARAM)
				printf("param %u %s\n", e->decls[d].format, e->decls[d].help);
			else
				printf("%s %u %u\n", e->decls[d].kind == DAG_PORT_IN ? "in" : "out",
					e->decls[d].format, e->decls[d].size);
		}
	}
	printf("end\n");
	return 0;
}

/* ---- parameters ---- */

#define ASKED_BYTES_MAX (256u << 20)

/* All of stdin; false where it cannot be read. */
static bool read_asked(struct buffer *ret)
{
	ssize_t n;

	do {
		char *room = buffer_extend(ret, 65536);

		n = read(STDIN_FILENO, room, 65536);
		ret->len -= 65536 - (size_t)(n > 0 ? n : 0);
	} while (n > 0 && ret->len < ASKED_BYTES_MAX);
	buffer_append(ret, "", 1);
	return n == 0;
}

/* The next text of those that NULs end; NULL at the end. */
static const char *next_text(const char **at, const char *end)
{
	const char *text = *at;

	if (text >= end)
		return NULL;
	*at += strlen(text) + 1;
	return text;
}

/* A vertex that has parameters and nothing else. */
static void check_one(int (*check)(struct dag_vertex *), struct graph_pair *params, uint32_t count)
{
	struct host_stage *stage = base_alloc(sizeof(*stage));
	struct dag_vertex *v;

	stage->spec.params = params;
	stage->spec.param_count = count;
	v = task_new(NULL, NULL, stage, NULL);
	if (check(v) >= 0)
		printf("ok\n");
	else
		/* A text of several lines would be taken for several answers. */
		for (const char *c = v->error_text ? v->error_text : "its parameters do not fit",
				*end = c + strlen(c);
			c <= end; c++)
			putchar(c == end || *c == '\n' ? (c == end ? '\n' : ' ') : *c);
	fflush(stdout);
	task_fini(v);
	task_destroy(&v);
	free(stage);
}

static const struct dag_entry *find_entry(const struct dag_plugin *plugin, const char *name)
{
	for (uint32_t i = 0; i < plugin->entry_count; i++)
		if (!strcmp(plugin_entry(plugin, i)->name, name))
			return plugin_entry(plugin, i);
	return NULL;
}

int plugin_check(const char *path)
{
	const struct dag_plugin *plugin;
	struct buffer asked = {0};
	const char *at, *end, *name, *count;
	void *library;
	char *error;

	if (!read_asked(&asked) || plugin_open(path, &library, &plugin, &error) < 0)
		return 3;
	at = (const char *)asked.data;
	end = at + asked.len - 1;
	while ((name = next_text(&at, end)) && (count = next_text(&at, end))) {
		const struct dag_entry *e = find_entry(plugin, name);
		uint32_t n = (uint32_t)strtoul(count, NULL, 10);
		struct graph_pair *params;

		if (!e || !check_of(plugin, e) || n > asked.len)
			return 3;
		params = base_alloc((n + 1) * sizeof(*params));
		for (uint32_t i = 0; i < n; i++) {
			params[i].name = next_text(&at, end);
			params[i].value = next_text(&at, end);
			if (!params[i].value)
				return 3;
		}
		check_one(check_of(plugin, e), params, n);
		free(params);
	}
	buffer_fini(&asked);
	return 0;
}
