/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAGRUN_VERTEX_H
#define DAGRUN_VERTEX_H
/*
 * The one header of a vertex plugin.
 *
 * A plugin is a shared object with entries; an entry is a plain function that reads records from its input
 * ports and writes records to its output ports, written as if it ran alone. The engine decides where it
 * runs, how often, and over which kind of channel the records travel; the entry cannot tell.
 *
 * All functions here are called from the thread that runs the entry and from no other; every one of them
 * may block. Functions that return int return 0 (or a count) on success and a negative DAG_E… on failure;
 * after a failed read or write the entry should return that code.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when the layout of anything in this header changes. A host refuses a plugin of another number. */
#define DAG_ABI_VERSION 1

/* Every error of the engine: code, name, sentence. */
#define DAG_ERROR_MAP(X)                                                                                     \
	X(-1, DAG_EINVAL, "invalid argument or input")                                                       \
	X(-2, DAG_EIO, "input or output error")                                                              \
	X(-3, DAG_ENOSPC, "no space left")                                                                   \
	X(-4, DAG_ECLOSED, "all readers of the channel have gone")                                           \
	X(-5, DAG_ECORRUPT, "data does not match its hash or count")                                         \
	X(-6, DAG_EMISSING, "data is not there")                                                             \
	X(-7, DAG_EUNREACHABLE, "the holder of the data cannot be reached")                                  \
	X(-8, DAG_EPROTO, "message breaks the protocol")                                                     \
	X(-9, DAG_EVERSION, "version is not supported")                                                      \
	X(-10, DAG_EPERM, "not allowed")                                                                     \
	X(-11, DAG_ETIMEDOUT, "time is over")                                                                \
	X(-12, DAG_ECANCELED, "cancelled")                                                                   \
	X(-13, DAG_EFAILED, "the vertex failed")                                                             \
	X(-14, DAG_ESIGNAL, "the vertex was killed by a signal")                                             \
	X(-15, DAG_ENOEXEC, "the program or plugin cannot be started")                                       \
	X(-16, DAG_ELIMIT, "a limit is exceeded")                                                            \
	X(-17, DAG_EEXIST, "exists already")                                                                 \
	X(-18, DAG_EBUSY, "in use")                                                                          \
	X(-19, DAG_ECHANGED, "the input changed while the job ran")                                          \
	X(-20, DAG_ELOST, "the node or host is gone")                                                        \
	X(-21, DAG_ENOTSEALED, "the vertex ended without sealing its outputs")                               \
	X(-22, DAG_EFORMAT, "a record does not fit its format")                                              \
	X(-23, DAG_EDIFFERS, "another run of the vertex gave other bytes")

enum dag_error {
#define DAG_ERROR_ENUM(code, name, text) name = code,
	DAG_ERROR_MAP(DAG_ERROR_ENUM)
#undef DAG_ERROR_ENUM
};

/* The sentence of an error code; never NULL. */
const char *dag_strerror(int error);

/* ---- records ---- */

/*
 * One record. data/len is the record; for key-value ports it is the value, and key/key_len the key (else
 * NULL, 0). Both spans are valid until the next read of the same port and producer. Messages to people count
 * records from 1.
 */
struct dag_record {
	const char *data;
	size_t len;
	const char *key;
	size_t key_len;
	uint64_t number; /* of the record among those of this port and producer, from 0 */
	uint32_t port;
	uint32_t producer; /* position among the producers of the port, from 0 */
};

struct dag_vertex;

/* Reads the next record of `port`, going through its producers in order. 1: *r is set; 0: the end; negative:
 * error. */
int dag_read(struct dag_vertex *v, uint32_t port, struct dag_record *r);
/* The same from one producer only, for merges. */
int dag_read_from(struct dag_vertex *v, uint32_t port, uint32_t producer, struct dag_record *r);
/* The next record of any producer whose data is there; for entries that declare DAG_ORDER_BLIND. */
int dag_read_any(struct dag_vertex *v, uint32_t port, struct dag_record *r);
/* Up to n records at once, in order; all spans live until the next read of the port. Returns their number. */
int dag_read_batch(struct dag_vertex *v, uint32_t port, struct dag_record r[], size_t n);
/*
 * A part of a large file, without reading the rest: how many bytes of the producer that dag_read is at are
 * left, and passing over some of them, to the start of a record (so a record that follows a long one is met
 * more often). dag_skip returns how many it passed over. Both are 0 where the data is not a file on this
 * node.
 */
uint64_t dag_left(struct dag_vertex *v, uint32_t port);
uint64_t dag_skip(struct dag_vertex *v, uint32_t port, uint64_t bytes);
/* Says that no more of `port` will be read: its producers may stop early. */
void dag_close(struct dag_vertex *v, uint32_t port);
/* The number of producers of an input port. */
uint32_t dag_producers(const struct dag_vertex *v, uint32_t port);

/* Writes one record; the edges' partition words decide where it goes. DAG_ECLOSED: nobody reads any more. */
int dag_write(struct dag_vertex *v, uint32_t port, const void *data, size_t len);
int dag_write_kv(struct dag_vertex *v, uint32_t port, const void *key, size_t key_len, const void *value,
	size_t value_len);
/* Writes n records at once, of key-value ports with their keys; what dag_read_batch gave can be passed on as
 * it is. A few times faster than one call each where records are short and the port is not partitioned. */
int dag_write_batch(struct dag_vertex *v, uint32_t port, const struct dag_record r[], size_t n);
/* Writes to a part that the vertex picks itself: for edges with {by: part}. 0 <= part < dag_parts(). */
int dag_write_part(struct dag_vertex *v, uint32_t port, uint32_t part, const void *data, size_t len);
int dag_write_part_kv(struct dag_vertex *v, uint32_t port, uint32_t part, const void *key, size_t key_len,
	const void *value, size_t value_len);
/* The number of parts of an output port: the widest of its edges; 1 where none is partitioned. */
uint32_t dag_parts(const struct dag_vertex *v, uint32_t port);
/*
 * Writing without a copy: *ret_data gets len writable bytes inside the current block of the port, and
 * dag_commit makes the first len_used of them a record. Ports that are hash or range partitioned keep the
 * bytes aside and copy once. One reservation at a time on a port.
 */
int dag_reserve(struct dag_vertex *v, uint32_t port, size_t len, void **ret_data);
int dag_commit(struct dag_vertex *v, uint32_t port, size_t len_used);

/* ---- what the vertex is ---- */
uint32_t dag_index(const struct dag_vertex *v);
/* Of the stage; until that is decided, where it is while the job runs, the most that it can be. */
uint32_t dag_width(const struct dag_vertex *v);
/* A parameter from the stage's `params`, or NULL. */
const char *dag_param(const struct dag_vertex *v, const char *name);
/* What a vertex was given that was added to a running job (dagrun/job.h): up to DAG_ARGUMENT_MAX bytes,
 * behind which is a NUL. Empty for others. */
#define DAG_ARGUMENT_MAX 8192
const void *dag_argument(const struct dag_vertex *v, size_t *ret_len);
/* A seed that all attempts of this vertex share and other vertices do not. */
uint64_t dag_seed(const struct dag_vertex *v);
/* A folder of this attempt, removed after it. */
const char *dag_scratch(struct dag_vertex *v);

/* ---- what the vertex says ---- */
/* Adds to a named counter that the job's summary shows. Names of up to 31 bytes, up to 16 a vertex. */
void dag_count(struct dag_vertex *v, const char *name, int64_t add);
/* A line for people: the job's log, with the vertex's name before it. */
void dag_log(struct dag_vertex *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Ends the attempt as failed with a sentence: `return dag_fail(v, "no column %d", n);` */
int dag_fail(struct dag_vertex *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same because of this record: people are told of which file or vertex it is. Where none is named that is
 * the one which was read last, unless it was one of a batch. */
int dag_fail_at(struct dag_vertex *v, const struct dag_record *r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- what a plugin declares ---- */
/* BYTES have no records: what is read are pieces of what was written, cut anywhere. */
enum dag_format_kind {
	DAG_FORMAT_LINES = 0,
	DAG_FORMAT_KV = 1,
	DAG_FORMAT_FIXED = 2,
	DAG_FORMAT_BYTES = 3,
	DAG_FORMAT_ANY = 4
};
enum dag_port_kind { DAG_PORT_END = 0, DAG_PORT_IN = 1, DAG_PORT_OUT = 2, DAG_PORT_PARAM = 3 };
enum dag_param_kind { DAG_PARAM_IS_TEXT = 0, DAG_PARAM_IS_NUMBER = 1, DAG_PARAM_IS_SIZE = 2 };
/*
 * PASSES_BYTES: an entry whose ports are ANY, and which writes what it has read as it is before it reads
 * more, such as `cat`. Where nobody behind it needs records, those are then chunks of bytes, cut anywhere.
 * MORE_INPUTS: further inputs, beside those that are declared, are as the last of these.
 */
enum dag_entry_flags { DAG_ORDER_BLIND = 1, DAG_PASSES_BYTES = 2, DAG_MORE_INPUTS = 4 };

#define DAG_PORTS_MAX 16

/* A port, a parameter, or (kind DAG_PORT_END) the sentence that says what the entry does. */
struct dag_decl {
	const char *help;
	uint16_t kind;   /* enum dag_port_kind */
	uint16_t format; /* enum dag_format_kind; ANY takes what the edge brings, an ANY output has its input
			    0's format; of a parameter: enum dag_param_kind */
	uint32_t size;   /* of a record, for FIXED */
};

struct dag_entry {
	const char *name;
	int (*run)(struct dag_vertex *v);
	uint32_t flags;                               /* enum dag_entry_flags */
	struct dag_decl decls[DAG_PORTS_MAX * 2 + 2]; /* in any order; all zero after the last */
	/*
	 * What is wrong with the stage's parameters, asked when a graph is loaded: 0, or what dag_fail
	 * returns. It may call dag_param and dag_fail alone. NULL: nothing beyond what is declared. Plugins
	 * that were built before there was this are taken as they are.
	 */
	int (*check)(struct dag_vertex *v);
};

struct dag_plugin {
	uint32_t abi;        /* DAG_ABI_VERSION */
	uint32_t entry_size; /* sizeof(struct dag_entry) */
	const char *name;
	uint32_t entry_count;
	const struct dag_entry *entries;
};

#define DAG_IN(format_)                                                                                      \
	{                                                                                                    \
		0, DAG_PORT_IN, DAG_FORMAT_##format_, 0                                                      \
	}
#define DAG_OUT(format_)                                                                                     \
	{                                                                                                    \
		0, DAG_PORT_OUT, DAG_FORMAT_##format_, 0                                                     \
	}
#define DAG_IN_FIXED(size_)                                                                                  \
	{                                                                                                    \
		0, DAG_PORT_IN, DAG_FORMAT_FIXED, size_                                                      \
	}
#define DAG_OUT_FIXED(size_)                                                                                 \
	{                                                                                                    \
		0, DAG_PORT_OUT, DAG_FORMAT_FIXED, size_                                                     \
	}

/*
 * A parameter that the entry knows: "NAME=DEFAULT: what it means", or "NAME=DEFAULT|OTHER|…: …" for a choice.
 * An entry that declares any is given no others, and none that do not fit: the graph file is refused.
 */
#define DAG_PARAM(text_)                                                                                     \
	{                                                                                                    \
		text_, DAG_PORT_PARAM, DAG_PARAM_IS_TEXT, 0                                                  \
	}
#define DAG_PARAM_NUMBER(text_)                                                                              \
	{                                                                                                    \
		text_, DAG_PORT_PARAM, DAG_PARAM_IS_NUMBER, 0                                                \
	}
#define DAG_PARAM_SIZE(text_)                                                                                \
	{                                                                                                    \
		text_, DAG_PORT_PARAM, DAG_PARAM_IS_SIZE, 0                                                  \
	}

/* DAG_ENTRY(function, ports…, "what it does"); DAG_ENTRY_FLAGS(function, flags, ports…, "what it does");
 * DAG_ENTRY_CHECKED(function, check, ports…, "what it does") */
#define DAG_ENTRY(function_, ...)                                                                            \
	{                                                                                                    \
#function_, function_, 0,                                                                    \
		{                                                                                            \
			__VA_ARGS__                                                                          \
		}                                                                                            \
	}
#define DAG_ENTRY_CHECKED(function_, check_, ...)                                                            \
	{                                                                                                    \
#function_, function_, 0, {__VA_ARGS__ }, check_                                             \
	}
#define DAG_ENTRY_FLAGS(function_, flags_, ...)                                                              \
	{                                                                                                    \
#function_, function_, flags_,                                                               \
		{                                                                                            \
			__VA_ARGS__                                                                          \
		}                                                                                            \
	}

/* Declares the plugin: DAG_PLUGIN(name, DAG_ENTRY(…), DAG_ENTRY(…)); once, in one file of it. */
#define DAG_PLUGIN(name_, ...)                                                                               \
	_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wmissing-braces\"") _Pragma(       \
		"GCC diagnostic ignored \"-Wmissing-field-initializers\"") static const struct dag_entry     \
		dag_plugin_entries_[] = {__VA_ARGS__};                                                       \
	_Pragma("GCC diagnostic pop") DAG_PLUGIN_EXPORT const struct dag_plugin dag_plugin = {               \
		DAG_ABI_VERSION, sizeof(struct dag_entry), #name_,                                           \
		sizeof(dag_plugin_entries_) / sizeof(dag_plugin_entries_[0]), dag_plugin_entries_}

#ifdef __cplusplus
#define DAG_PLUGIN_EXPORT extern "C" __attribute__((visibility("default")))
}
#else
#define DAG_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif
#endif
