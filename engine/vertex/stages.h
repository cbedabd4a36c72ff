/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_STAGES_H
#define VERTEX_STAGES_H
/* What a host knows of the stages of its job. */
#include "host_proto.h"
#include "spec.h"

struct dag_vertex;
struct host;

/* What stages that are alike share. */
struct host_stage {
	struct arena arena;
	struct stage_spec spec;
	const struct dag_entry *entry;
	char *error; /* why the plugin cannot be used */
	char *found; /* the program in PATH; or NULL */
};

/* A stage under its own name. */
struct host_named {
	char *name;
	struct host_stage *stage; /* NULL: the daemon has not told us */
	uint32_t noted;           /* bits of enum host_note that were said. Guarded by host.lock. */
};

struct stages {
	struct host_named *named; /* by their numbers */
	size_t room;
	struct host_plugin *plugins;
	struct arena names;
};

/* The daemon has told of it. */
const struct host_named *stages_find(const struct host *host, uint32_t id);
void stages_on_stage(struct host *host, const struct host_msg *msg, const char *tail, int fd);
/* A line for people, of which one a stage is enough. */
void stages_note(struct dag_vertex *v, enum host_note kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
