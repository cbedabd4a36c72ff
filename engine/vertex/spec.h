/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_SPEC_H
#define VERTEX_SPEC_H
/*
 * What a host must know of a stage to run its vertices, but its name: stages that do the same to the same
 * ports share one. Encoded, it is sent once to each host; START says the rest.
 */
#include "base/arena.h"
#include "base/buffer.h"
#include "graph/graph.h"

struct stage_spec {
	const char *job;
	uint32_t kind; /* GRAPH_PLUGIN or GRAPH_PROGRAM */
	const char *plugin, *entry;
	const char **argv;
	uint32_t argc;
	struct graph_pair *params, *env;
	uint32_t param_count, env_count;
	struct graph_pair *files; /* name in the scratch folder, path on this node */
	uint32_t file_count;
	const char *scratch; /* folder in which each attempt has one of its own */
	uint32_t in_count, out_count;
	struct graph_format in[GRAPH_PORTS_MAX], out[GRAPH_PORTS_MAX];
	bool in_joined[GRAPH_PORTS_MAX];
	bool order_blind;
	struct graph_stream *streams;
	uint32_t stream_count;
	int32_t *exit_ok;
	uint32_t exit_ok_count;
};

void stage_spec_encode(const struct stage_spec *spec, struct buffer *ret_bytes);
/* DAG_EPROTO on anything that is not one whole spec. Strings lie in the arena. */
int stage_spec_decode(const void *data, size_t len, struct arena *arena, struct stage_spec *ret_spec);

#endif
