/* SPDX-License-Identifier: Apache-2.0 */
/* What a host knows of its job's stages: each has a name of its own; those that are alike share all else. */
#include "stages.h"
#include "host.h"
#include "plugin.h"
#include "task.h"
#include "os/os.h"

#include <sys/mman.h>
#include <unistd.h>

struct host_plugin {
	const char *path;
	const struct dag_plugin *plugin;
	struct host_plugin *next;
};

static void decode_spec(struct host_stage *stage, const void *data, size_t size, int fd)
{
	void *mapped = fd < 0 ? NULL : mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	DAG_ASSERT(mapped != MAP_FAILED);
	DAG_ASSERT(stage_spec_decode(mapped ? mapped : data, size, &stage->arena, &stage->spec) == 0);
	if (mapped)
		munmap(mapped, size);
}

/* A plugin is opened once, however many stages use it. */
static const struct dag_plugin *find_plugin(struct host *host, const char *path, char **ret_error)
{
	struct host_plugin *p = host->stages.plugins;
	const struct dag_plugin *plugin;
	void *library;

	while (p && strcmp(p->path, path))
		p = p->next;
	if (p)
		return p->plugin;
	if (plugin_open(path, &library, &plugin, ret_error) < 0)
		return NULL;
	p = base_alloc(sizeof(*p));
	*p = (struct host_plugin){base_strdup(path), plugin, host->stages.plugins};
	host->stages.plugins = p;
	return plugin;
}

static struct host_stage *new_stage(struct host *host, const void *data, size_t size, int fd)
{
	struct host_stage *stage = base_alloc(sizeof(*stage));
	const struct dag_plugin *plugin;

	decode_spec(stage, data, size, fd);
	plugin = stage->spec.kind == GRAPH_PLUGIN ? find_plugin(host, stage->spec.plugin, &stage->error)
						  : NULL;
	for (uint32_t i = 0; plugin && i < plugin->entry_count && !stage->entry; i++)
		if (!strcmp(plugin_entry(plugin, i)->name, stage->spec.entry))
			stage->entry = plugin_entry(plugin, i);
	if (plugin && !stage->entry)
		stage->error =
			base_format("plugin %s has no entry '%s'", stage->spec.plugin, stage->spec.entry);
	if (stage->spec.kind == GRAPH_PROGRAM && stage->spec.argc && !strchr(stage->spec.argv[0], '/'))
		stage->found = os_find_program(stage->spec.argv[0]);
	return stage;
}

const struct host_named *stages_find(const struct host *host, uint32_t id)
{
	DAG_ASSERT(id < host->stages.room && host->stages.named[id].stage);
	return &host->stages.named[id];
}

static struct host_named *name_stage(struct host *host, uint32_t id)
{
	size_t room = host->stages.room;

	while (id >= host->stages.room)
		host->stages.named =
			base_grow(host->stages.named, &host->stages.room, sizeof(*host->stages.named));
	memset(host->stages.named + room, 0, (host->stages.room - room) * sizeof(*host->stages.named));
	return &host->stages.named[id];
}

void stages_on_stage(struct host *host, const struct host_msg *msg, const char *tail, int fd)
{
	uint32_t id = msg->u.stage.stage, like = msg->u.stage.like, len = msg->u.stage.name_len;

	*name_stage(host, id) = (struct host_named){.name = arena_strndup(&host->stages.names, tail, len),
		.stage = like == id ? new_stage(host, tail + len, msg->u.stage.size, fd)
				    : stages_find(host, like)->stage};
}

void stages_note(struct dag_vertex *v, enum host_note kind, const char *format, ...)
{
	struct host_msg msg = {.kind = HOST_LOG, .task = v->task, .u.log.note = kind};
	va_list args;
	uint32_t *noted, said;
	char *text;

	pthread_mutex_lock(&v->host->lock);
	noted = &v->host->stages.named[v->stage_number].noted;
	said = *noted & 1u << kind;
	*noted |= 1u << kind;
	pthread_mutex_unlock(&v->host->lock);
	if (said)
		return;
	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	host_send(v->host, &msg, text, DAG_MIN(strlen(text), (size_t)1024));
	free(text);
}
