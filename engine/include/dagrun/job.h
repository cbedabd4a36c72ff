/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAGRUN_JOB_H
#define DAGRUN_JOB_H
/*
 * A job from a C program: a graph file is run here or on a cluster, vertices are added to its open stages
 * (`width: open`) while it runs, and their results are read.
 *
 *   struct dag_job_options options = {sizeof(options), .graph = "tasks.yaml"};
 *   struct dag_job *job;
 *   uint32_t square;
 *
 *   if (dag_job_open(&job, &options) < 0)
 *           return 1;
 *   dag_job_add(job, "square", "12", 2, NULL, 0, &square);
 *   dag_job_read(job, "square", square, 0, &data, &len);
 *   dag_job_finish(job);
 *   dag_job_destroy(&job);
 *
 * All functions return 0 or a DAG_E… of dagrun/vertex.h. A job belongs to the thread that opened it, and
 * lives in its calls: a program that computes for more than ten seconds calls dag_job_poll now and then, or
 * daemons of a cluster take it for dead. Link with -ldagrun.
 */
#include "vertex.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dag_job;

struct dag_job_options {
	size_t size;               /* of this struct, as the program knows it */
	const char *graph;         /* path of the graph file */
	const char *const *params; /* "NAME=VALUE" each, then NULL; or NULL */
	/* Such as 10.0.0.1:7700; NULL: as the variable DAGRUN_NAMESERVER says, and where that is not set, or
	 * "none", all runs on this machine. */
	const char *nameserver;
	/* Folder of the cluster's keys, or "none"; NULL: as DAGRUN_KEYS says, else the user's own on
	 * loopback.
	 */
	const char *keys;
	uint32_t slots; /* without a name server: vertices at a time; 0: one a core */
	/* Gets each line for people: errors of the graph file, what runs again and why. NULL: stderr. */
	void (*say)(void *ctx, const char *line);
	void *ctx;
};

/* Another vertex that an added one reads. */
struct dag_job_input {
	const char *stage;
	uint32_t index;
};

/*
 * Loads the graph and begins the job. DAG_EINVAL: the graph is wrong; DAG_EPERM: so are the keys; DAG_EIO.
 * That there is no cluster (DAG_EUNREACHABLE), a later call finds out.
 */
int dag_job_open(struct dag_job **ret_job, const struct dag_job_options *options);
/*
 * Adds a vertex to an open stage: it gets `argument` (dag_argument; up to DAG_ARGUMENT_MAX bytes) and reads
 * the inputs, each over the edge that the graph has from there, in this order. It starts when those have
 * ended. DAG_EINVAL: no such stage, edge or vertex (of a stage whose width is not decided yet, there is
 * none), or the stage is closed; DAG_ELIMIT: it has all that it can get, or the argument is too long;
 * otherwise what the job failed of.
 */
int dag_job_add(struct dag_job *job, const char *stage, const void *argument, size_t argument_len,
	const struct dag_job_input *inputs, size_t input_count, uint32_t *ret_index);
/*
 * Waits until a vertex of an open stage has ended, and gives its records of an output port as a file would
 * have them: lines with their line feeds, KEY TAB VALUE LF, or the bytes. *ret_data belongs to the caller
 * (free), and has a NUL behind its last byte. What was lost with a machine is made again from its inputs.
 * To be called before dag_job_finish. DAG_EINVAL: there is no such vertex or port; or what the job failed of.
 */
int dag_job_read(struct dag_job *job, const char *stage, uint32_t index, uint32_t port, void **ret_data,
	size_t *ret_len);
/* 1 where the vertex has ended, 0 where it has not, at once. */
int dag_job_ended(struct dag_job *job, const char *stage, uint32_t index);
/* No more are added: what reads the stage may start when all of it has ended. */
int dag_job_close(struct dag_job *job, const char *stage);
/* Lets the job go on for so long, or, with 0, with what there is to do now. */
int dag_job_poll(struct dag_job *job, uint32_t milliseconds);
/* Closes all open stages and waits until the job's outputs are published. */
int dag_job_finish(struct dag_job *job);
/* Why the job failed; "" where it did not. Lives as long as the job. */
const char *dag_job_error(const struct dag_job *job);
/* Cancels what was not finished: then nothing is published. NULL is fine. */
void dag_job_destroy(struct dag_job **job);

#ifdef __cplusplus
}
#endif
#endif
