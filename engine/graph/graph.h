/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GRAPH_GRAPH_H
#define GRAPH_GRAPH_H
/*
 * A job as a graph of stages and edges (Dryad, EuroSys 2007, section 3). Channels are never stored: an edge
 * answers for them by arithmetic (edge.h), so 3,000 × 3,000 channels are one struct.
 *
 * Built by graph_add_stage and graph_add_edge in any order, then completed once by graph_finish, which
 * derives widths, formats, streams, vertex numbers and gangs, and reports everything that is wrong. A
 * finished graph is only read. All of it lives in one arena.
 *
 * Some stages get their width while the job runs (width_of). In the graph it is the most that it can be, and
 * the job manager leaves the last vertices out when it knows better.
 *
 * An input of the job is a stage too, of kind GRAPH_INPUT: its vertices are splits, which never run.
 */
#include "base/arena.h"
#include "base/diag.h"
#include "base/table.h"

#define GRAPH_WIDTH_MAX 10000000u    /* vertices a stage */
#define GRAPH_VERTICES_MAX 20000000u /* vertices a graph */
#define GRAPH_PARTS_MAX 65536u       /* consumers that one partitioned edge feeds */
#define GRAPH_PORTS_MAX DAG_PORTS_MAX
#define GRAPH_FIFO_GROUP_MAX 1024u    /* vertices that fifos join, which are threads of one process */
#define GRAPH_RUNNING_WIDTH_MAX 1024u /* of a stage whose width is decided by data while the job runs */
#define GRAPH_OPEN_MOST 65536u        /* vertices that an open stage may get, if nothing else is said */
#define GRAPH_GROUP_LEAST 16u         /* producers of one group: Dryad's defaults */
#define GRAPH_GROUP_MOST 128u
#define GRAPH_GROUP_BYTES (1ull << 30)
#define GRAPH_CPU_SHARES 16u /* a slot has sixteen shares; a member of a gang without `cpus` takes one */
#define GRAPH_NONE UINT32_MAX

struct graph_place {
	const char *file;
	int line, column;
};

/*
 * AS_WRITTEN: nobody said that these are lines, but somebody needs records. Who needs none still gets the
 * very bytes that were written: a last line without its LF stays one.
 */
#define GRAPH_AS_WRITTEN 1u

struct graph_format {
	enum dag_format_kind kind;
	uint32_t size; /* FIXED: bytes a record; LINES: GRAPH_AS_WRITTEN, or 0 */
};

static inline bool graph_is_as_written(struct graph_format format)
{
	return format.kind == DAG_FORMAT_LINES && format.size == GRAPH_AS_WRITTEN;
}

enum graph_stage_kind { GRAPH_INPUT, GRAPH_PLUGIN, GRAPH_PROGRAM };
/*
 * GROUPS: every producer feeds one consumer, and which one is decided while the job runs. ADDED: into a stage
 * that is open; what a vertex reads is said when it is added.
 */
enum graph_pattern {
	GRAPH_POINTWISE,
	GRAPH_BIPARTITE,
	GRAPH_NEIGHBOURS,
	GRAPH_LIST,
	GRAPH_GROUPS,
	GRAPH_ADDED
};
enum graph_group_by { GRAPH_GROUP_NODE, GRAPH_GROUP_RACK, GRAPH_GROUP_ANY };
enum graph_channel { GRAPH_AUTO, GRAPH_FILE, GRAPH_PIPE, GRAPH_FIFO };
enum graph_partition_kind {
	GRAPH_BY_DEFAULT, /* one part, or by hash for kv; an error for others where there are several parts */
	GRAPH_BY_HASH,
	GRAPH_BY_ROUND_ROBIN,
	GRAPH_BY_ALL, /* one part that every consumer reads */
	GRAPH_BY_PART /* the vertex picks */
};
enum graph_deterministic {
	GRAPH_DETERMINISM_UNSAID,
	GRAPH_DETERMINISTIC,     /* another output of a rerun fails the job */
	GRAPH_NOT_DETERMINISTIC, /* never copied */
	GRAPH_ACCEPT             /* another output of a rerun is as good */
};

struct graph_partition {
	enum graph_partition_kind kind;
	uint32_t key;   /* field, from 1; 0 for the whole record, or the key of kv */
	char delimiter; /* 0: runs of blanks, as awk does */
};

/* A file of an input, as it was when the job started; another size, time or inode later is an error. */
struct graph_file {
	const char *path; /* absolute */
	uint64_t size;
	int64_t mtime_ns;
	uint64_t inode;
};

/* What one vertex of an input stands for: the records whose first byte lies in offset … offset+length−1. */
struct graph_split {
	uint32_t file; /* index into the stage's files */
	uint64_t offset, length;
};

struct graph_port {
	struct graph_format format;
	uint32_t stream; /* outputs of an open stage: that in which the client reads them */
	uint32_t edge;   /* inputs only: the edge that ends here, GRAPH_NONE before it is joined */
	bool used;       /* outputs: some edge or output of the job takes it */
	bool declared;   /* named by the plugin or by {in.N}, {out.N} */
};

/* AUTO: as the job manager decides, where the stage is sent to a node. */
enum graph_codec { GRAPH_CODEC_NONE, GRAPH_CODEC_LZ4, GRAPH_CODEC_ZSTD, GRAPH_CODEC_AUTO };

/*
 * What a port's records are stored as: one stream for each different partitioning among its edges. An
 * attempt writes every record of the port into each of its streams.
 */
struct graph_stream {
	uint32_t port;
	uint32_t parts;
	struct graph_partition partition;
	enum graph_channel channel; /* FILE, PIPE or FIFO */
	bool elastic;               /* a pipe whose producer never waits */
	enum graph_codec codec;
};

struct graph_pair {
	const char *name, *value;
};

struct graph_stage {
	const char *name;
	struct graph_place place;

	bool width_given;    /* by the stage's own word */
	bool format_said;    /* so is the format of its outputs; else it follows from who reads them */
	uint64_t width_per;  /* one vertex for so many bytes of the job's inputs that reach it; 0: not said */
	bool width_by_data;  /* rather of what its producers have stored; `width` is the most */
	uint32_t copies_for; /* a layer of copies for this stage; GRAPH_NONE */
	uint32_t width_of; /* the stage whose running width it has, itself perhaps; GRAPH_NONE: it is fixed */
	struct graph_stream *streams;
	uint32_t stream_count;

	/* GRAPH_PLUGIN */
	const char *plugin; /* path of the shared object */
	const char *entry;
	bool order_blind;
	bool passes_bytes;  /* chunks of bytes do as well as records, */
	bool needs_records; /* but its neighbours need those */
	bool more_inputs;   /* as many as the flow joins, all of one format */
	struct graph_pair *params;
	uint32_t param_count;
	/* GRAPH_PROGRAM */
	const char **argv;
	uint32_t argc;
	struct graph_format format; /* of all its outputs, where it is said */
	/* both */
	struct graph_pair *env;
	uint32_t env_count;
	const char **files;      /* shipped along: paths */
	const char **file_names; /* of each, below the folder of a vertex */
	uint32_t file_count;
	dag_instant timeout; /* of an attempt; 0: none */
	int32_t retries;     /* further attempts after a failure */
	bool retries_said;   /* by the user: then failures that are alike are tried so often too */
	enum graph_deterministic deterministic;
	bool no_copies;        /* slow vertices are not run twice */
	uint32_t skip_records; /* that may go to the quarantine file */
	int32_t *exit_ok;
	uint32_t exit_ok_count;

	/* GRAPH_INPUT */
	struct graph_file *input_files;
	uint32_t input_file_count;
	struct graph_split *splits; /* width of them */
	bool split;                 /* files are cut at their records */
	bool shared;
	UT_hash_handle hh; /* in graph.by_name */

	/* What the scheduler looks at lies together. */
	uint32_t id;
	enum graph_stage_kind kind;
	bool isolate;          /* its vertices run in hosts of their own */
	bool open;             /* its vertices are added while the job runs; `width` is the most */
	uint32_t width;        /* vertices; 0 until known */
	uint32_t first_vertex; /* vertices are numbered through: first_vertex + index */
	uint32_t depth;        /* longest path from an input or source; deeper stages are started first */
	uint32_t like; /* the first stage whose vertices run as those of this one do, which may be itself */
	uint32_t first_out, last_out; /* edges that leave it, linked by next_out; GRAPH_NONE */
	uint32_t cpu_shares;          /* sixteenths of a slot; 0: not said */
	uint64_t memory;              /* bytes; 0: not said */
	struct graph_pair *labels;
	uint32_t label_count;
	uint32_t in_count, out_count;
	struct graph_port *in, *out;
	uint32_t in_room, out_room; /* ports that there is memory for */
};

/*
 * How finished producers are put together (Dryad's DynamicAggregateManager): those of one node, or of one
 * rack, as soon as there are `most` or seven eighths of `bytes`. What is left at the end, fewer than `least`,
 * goes to its rack, and then together.
 */
struct graph_groups {
	enum graph_group_by by;
	uint32_t least, most;
	uint64_t bytes;
};

struct graph_list_pair {
	uint32_t producer, consumer;
};

struct graph_edge {
	uint32_t id;
	uint32_t from, from_port, to, to_port; /* stages and ports */
	uint32_t next_out;                     /* the next one that leaves `from`; GRAPH_NONE */
	enum graph_pattern pattern;
	uint32_t k;                   /* NEIGHBOURS: producers on each side */
	struct graph_list_pair *list; /* LIST: sorted by consumer, then producer */
	uint32_t *by_producer;        /* LIST: positions in `list`, sorted by producer, then consumer */
	uint32_t list_count;
	struct graph_groups groups; /* GROUPS */
	enum graph_channel channel;
	struct graph_partition partition;
	bool partition_said; /* by a person, who wants something parted */
	uint32_t stream;     /* of the stage `from` */
	uint32_t parts;
	bool elastic;
	enum graph_codec codec; /* that its blocks are packed with */
	struct graph_place place;
	uint32_t from_width, to_width; /* copied by graph_finish, so that edge.h needs nothing else */
};

/* What the job leaves behind: the records of one output port of a stage, in a file or a file a vertex. */
struct graph_output {
	uint32_t stage, port;
	const char *path;  /* absolute, perhaps with {index}; "-" is stdout */
	uint32_t index_at; /* where in it {index} stands, in the name of the file; GRAPH_NONE */
	bool per_vertex;   /* the path has {index} */
	uint32_t stream;   /* of the stage */
	struct graph_place place;
};

/* Vertices that start together. A vertex outside of pipes and fifos is a gang of its own. */
struct graph_gang {
	uint32_t first, count; /* in graph.gang_members */
};

struct graph {
	struct arena arena;
	const char *name;
	const char *file;
	struct graph_stage **stages;
	size_t stage_count, stage_cap;
	struct graph_stage *by_name;
	struct graph_edge **edges;
	size_t edge_count, edge_cap;
	struct graph_output *outputs;
	size_t output_count, output_cap;

	/* Set by graph_finish. */
	uint32_t vertex_count;
	uint32_t *vertex_stage; /* of each vertex */
	uint32_t *gang_of;      /* of each vertex */
	uint32_t *gang_members; /* vertices, gang after gang, ascending within one */
	struct graph_gang *gangs;
	uint32_t gang_count;
	bool *rides; /* of each vertex: it takes no share of a slot; NULL: every one does */
};

void graph_new(struct graph **ret_graph, const char *name, const char *file);
void graph_destroy(struct graph **graph);

/* They return what they added, for the caller to fill in before graph_finish. */
struct graph_stage *graph_add_stage(struct graph *graph, enum graph_stage_kind kind, const char *name);
struct graph_edge *graph_add_edge(struct graph *graph, uint32_t from, uint32_t from_port, uint32_t to,
	uint32_t to_port, enum graph_pattern pattern);
struct graph_output *graph_add_output(struct graph *graph, uint32_t stage, uint32_t port, const char *path);
/* Memory for so many ports at least: graph_finish has it for those of edges and outputs. The counts are the
 * caller's. */
void graph_need_ports(struct graph *graph, struct graph_stage *stage, uint32_t in, uint32_t out);
/* The file that vertex `index` writes, allocated. */
char *graph_output_path(const struct graph_output *output, uint32_t index);
struct graph_stage *graph_find_stage(const struct graph *graph, const char *name);

/* Completes and checks the graph. DAG_EINVAL with every error found in *diag. */
int graph_finish(struct graph *graph, struct dag_diag *diag);
/*
 * Sixteenths of a slot that the vertex takes: what its stage asks for, else a slot, or one in a gang. Those
 * of one fifo group that do not ask take one slot together at most, since they are one process.
 */
uint32_t graph_vertex_shares(const struct graph *graph, uint32_t vertex);
/* The largest gang's shares of a slot, for "a gang beyond the slots": 0 where no gang has several members. */
uint64_t graph_gang_shares(const struct graph *graph, uint32_t gang);

/* Of first_out or next_out: NULL after the last. */
static inline struct graph_edge *graph_out(const struct graph *graph, uint32_t edge)
{
	return edge == GRAPH_NONE ? NULL : graph->edges[edge];
}

static inline uint32_t graph_index(const struct graph *graph, uint32_t vertex)
{
	return vertex - graph->stages[graph->vertex_stage[vertex]]->first_vertex;
}

const char *graph_format_name(struct graph_format format, char buf[32]);
const char *graph_codec_name(enum graph_codec codec);
const char *graph_channel_name(enum graph_channel channel);

#endif
