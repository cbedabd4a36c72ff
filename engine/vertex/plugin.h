/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_PLUGIN_H
#define VERTEX_PLUGIN_H
/* Loading a plugin and telling what it declares. */
#include "base/base.h"
#include <dagrun/vertex.h>

int plugin_open(const char *path, void **ret_library, const struct dag_plugin **ret_plugin, char **ret_error);
const struct dag_entry *plugin_entry(const struct dag_plugin *plugin, uint32_t i);
int plugin_describe(const char *path);
/*
 * What the entries themselves find wrong with parameters. Asked on stdin, as texts that NULs end: an entry,
 * how many parameters, and their names and values; answered by a line each, "ok" or what is wrong.
 */
int plugin_check(const char *path);

#endif
