/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a plugin and telling what it declares. Its code, constructors too, runs in a host and nowhere else.
 */
#include "host.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

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
	if (plugin->abi != DAG_ABI_VERSION || plugin->entry_size < sizeof(struct dag_entry)) {
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

static bool is_last(const struct dag_decl *d)
{
	return d->kind == DAG_PORT_END && !d->help;
}

/*
 * One fact a line, for the program that asked: "entry NAME FLAGS", "in FORMAT SIZE", "out FORMAT SIZE",
 * "param KIND TEXT", "help TEXT", and "end" when all is said.
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
