/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CLI_H
#define CLI_CLI_H
/* dagrun's subcommands: one file each, one line each in the table of main.c. */
#include "os/options.h"
#include "os/startup.h"
#include "jobmanager/journal.h"
#include "jobmanager/load.h"
#include "jobmanager/manager.h"

struct cli_command {
	struct command_spec spec;
	int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit code */
};

extern const struct cli_command cli_run, cli_resume, cli_verify, cli_jobs, cli_clean, cli_simulate, cli_check,
	cli_plan, cli_nodes, cli_keygen;

#define CLI_GRAPH_OPTIONS                                                                                    \
	{"param", 'p', "NAME=VALUE", "sets a parameter of the graph; may be repeated"},                      \
	{                                                                                                    \
		"plugin-path", 'P', "DIR", "a folder to look for plugins in; may be repeated"                \
	}
#define CLI_GRAPH_OPTION_COUNT 2

/* Takes option 0 or 1 of CLI_GRAPH_OPTIONS. */
int cli_graph_option(struct load *g, size_t option, const char *value);
/* Reads all of stdin into a file, whose path is set. DAG_EIO, and no file, after saying why. */
int cli_keep_stdin(struct load *load);
/* Loads the graph; the exit code, 0 for success. Errors go to stderr, all of them. read_stdin: an input "-"
 * is read now. */
int cli_graph_load(struct load *g, bool read_stdin);
struct cluster;
/* cluster_find for a command: the exit code, 0 for success. Errors go to stderr; warnings, unless quiet. */
int cli_cluster_find(struct cluster *c, const char *nameserver, const char *keys, bool quiet);
#define CLI_WAIT_OPTION                                                                                      \
	{                                                                                                    \
		"wait-for-nodes", 0, "TIME",                                                                 \
			"how long a node is waited for that can run what no node there can, such as 90s, "   \
			"5m "                                                                                \
			"(default: 15s where no node is there or such a one is gone, else 3s)"               \
	}
int cli_wait_option(struct manager_config *config, const char *value);
/* The one operand of the command, or a message and NULL. */
const char *cli_operand(const struct cli_command *command, int argc, char **argv, int first);
void cli_print(struct dag_diag *diag);
/* The plan as text on stdout. */
void cli_print_plan(const struct graph *graph);

/* ---- earlier.c: what a job was started with, from its journal ---- */

struct cli_earlier {
	struct load graph;
	struct wire_keys *keys;
	struct manager_config config;
};

/* Loads a job's journal and takes the job's lock. The exit code; messages went to stderr. */
int cli_journal_load(const char *id, struct journal_saved *saved, int *ret_lock);
/* The exit code; 0 where config can be run. Goes to the folder where the job was started. */
int cli_earlier_load(struct cli_earlier *e, const char *id, const struct journal_saved *saved);
void cli_earlier_fini(struct cli_earlier *e);

/* ---- jobs.c: what lies in the state folder ---- */

enum job_state { JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_UNFINISHED, JOB_UNBEGUN, JOB_DAMAGED };

struct job_info {
	char *id, *folder;
	enum job_state state;
	struct journal_saved saved; /* without facts but the last */
	char *problem;              /* JOB_UNBEGUN, JOB_DAMAGED */
	int64_t made_at; /* its folder, in nanoseconds since 1970; 0: the file system does not know */
	int lock_fd;     /* held where it does not run */
};

/* What a fact "ended ERROR TEXT" says. */
const char *job_end_text(const char *fact);
/* All jobs, oldest first; where `unfinished` only those of the last hundred that did not end. */
struct job_info *jobs_scan(bool unfinished, size_t *ret_count);
/* What a run without a cluster left: its spool on disk and in shared memory. */
void jobs_remove_spool(const char *id);
void jobs_free(struct job_info *jobs, size_t n);

#endif
