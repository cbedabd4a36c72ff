/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_PLUGINS_H
#define JOBMANAGER_PLUGINS_H
/* Finding plugins by their word in a graph file, and asking `daghost --describe` what they declare. */
#include "lang/graph_file.h"

struct plugins;

/* extra: folders of --plugin-path, looked in first after the graph's own. */
void plugins_new(
	struct plugins **ret_plugins, const char *host_program, const char *const *extra, size_t extra_count);
void plugins_destroy(struct plugins **plugins);
/* A graph_file_options.describe; ctx is the struct plugins. */
int plugins_describe(void *ctx, const char *plugin, const char *folder, const struct plugin_info **ret_info,
	char **ret_error);
/* A graph_file_options.check; ctx is the struct plugins. */
int plugins_check(void *ctx, const char *path, struct plugin_check *checks, size_t count, char **ret_error);

#endif
