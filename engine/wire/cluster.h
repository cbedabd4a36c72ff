/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_CLUSTER_H
#define WIRE_CLUSTER_H
/* Which cluster, and what opens it: as options say, or the environment where they do not. */
#include "keys.h"

#define CLUSTER_NAMESERVER_VARIABLE "DAGRUN_NAMESERVER"
#define CLUSTER_KEYS_VARIABLE "DAGRUN_KEYS"
#define CLUSTER_NONE "none"
#define CLUSTER_NAMESERVER_HELP                                                                              \
	"HOST:PORT of the cluster's name server (default: $DAGRUN_NAMESERVER; port 7700)"
#define CLUSTER_KEYS_HELP                                                                                    \
	"the cluster's keys (default: $DAGRUN_KEYS; on loopback your own, made at first need; 'none': no "   \
	"keys)"

struct cluster {
	char *nameserver;       /* whole endpoint; NULL: none */
	char *keys_said;        /* absolute path or "none"; NULL: nothing was said of keys */
	struct wire_keys *keys; /* NULL: none are needed, or wanted */
};

/*
 * `nameserver`, `keys`: an option's value or NULL. A name server "none" is none. DAG_EINVAL: what was said
 * makes no sense, or keys are needed; DAG_EPERM: they cannot be used. With 0 too diag may have a line: a
 * warning.
 */
int cluster_find(struct cluster *c, const char *nameserver, const char *keys, struct dag_diag *diag);
/* Keys for what is to be reached, or listened to, at a whole endpoint. `said`: as keys_said. */
int cluster_find_keys(
	const char *said, const char *endpoint, struct wire_keys **ret_keys, struct dag_diag *diag);
/* What an option or else the environment says of keys, as keys_said; caller frees. */
char *cluster_keys_said(const char *keys);
void cluster_fini(struct cluster *c);

#endif
