/* SPDX-License-Identifier: Apache-2.0 */
#include "origin.h"

#include <unistd.h>

void origin_add(struct origin *o, const char *name, size_t i, const char *value)
{
	char *numbered = name[strlen(name) - 1] == ' ' ? base_format("%s%zu", name, i) : base_strdup(name);

	if (value)
		*DAG_APPEND(o->items, o->count, o->cap) = (struct graph_pair){numbered, base_strdup(value)};
	else
		free(numbered);
}

void origin_begin(struct origin *o, const char *graph)
{
	char *cwd = getcwd(NULL, 0), *path = strcmp(graph, "-") ? realpath(graph, NULL) : NULL;

	origin_add(o, "cwd", 0, cwd ? cwd : "/");
	origin_add(o, "path", 0, path ? path : graph);
	free(cwd);
	free(path);
}

void origin_fini(struct origin *o)
{
	while (o->count) {
		free((char *)o->items[--o->count].name);
		free((char *)o->items[o->count].value);
	}
	free(o->items);
}
