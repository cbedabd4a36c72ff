/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NAMESERVER_CORE_REGISTRY_H
#define NAMESERVER_CORE_REGISTRY_H
/* Which nodes live: registered, heard of lately, or forgotten. Pure. */
#include "base/base.h"

#define REGISTRY_SUSPECT (3 * DAG_SECOND)
#define REGISTRY_EXPIRY (10 * DAG_SECOND)

struct registry_node {
	char *name;
	uint64_t incarnation;
	void *info; /* the owner's: what the node said of itself */
	dag_instant registered, heard;
	bool suspect;
};

struct registry {
	struct registry_node *nodes;
	size_t count, cap;
	void (*free_info)(void *info);
};

void registry_init(struct registry *registry, void (*free_info)(void *info));
void registry_fini(struct registry *registry);
/*
 * Adds a node or replaces what is known of it; takes over info. True where somebody may want to know. A node
 * of the same name and another incarnation takes the old one's place: a node has one daemon.
 */
bool registry_put(
	struct registry *registry, dag_instant now, const char *name, uint64_t incarnation, void *info);
/* The node says that it ends. True where it was known. */
bool registry_remove(struct registry *registry, const char *name, uint64_t incarnation);
/* The node said something. True where it was suspect. */
bool registry_heard(struct registry *registry, dag_instant now, const char *name, uint64_t incarnation);
/* Suspects and forgets those that are silent. True where anything changed. */
bool registry_expire(struct registry *registry, dag_instant now);

#endif
