/* SPDX-License-Identifier: Apache-2.0 */
/* A small array: nodes are thousands at most, and changes are rare beside heartbeats. */
#include "nameserver/core/registry.h"

void registry_init(struct registry *r, void (*free_info)(void *info))
{
	*r = (struct registry){.free_info = free_info};
}

static void remove_at(struct registry *r, size_t i)
{
	free(r->nodes[i].name);
	r->free_info(r->nodes[i].info);
	r->nodes[i] = r->nodes[--r->count];
}

void registry_fini(struct registry *r)
{
	while (r->count)
		remove_at(r, r->count - 1);
	free(r->nodes);
	*r = (struct registry){0};
}

static struct registry_node *find(struct registry *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (!strcmp(r->nodes[i].name, name))
			return &r->nodes[i];
	return NULL;
}

bool registry_put(struct registry *r, dag_instant now, const char *name, uint64_t incarnation, void *info)
{
	struct registry_node *n = find(r, name);

	if (!n) {
		n = DAG_APPEND(r->nodes, r->count, r->cap);
		n->name = base_strdup(name);
	} else {
		r->free_info(n->info);
	}
	if (n->incarnation != incarnation)
		n->registered = now;
	n->incarnation = incarnation;
	n->info = info;
	n->heard = now;
	n->suspect = false;
	return true;
}

bool registry_remove(struct registry *r, const char *name, uint64_t incarnation)
{
	struct registry_node *n = find(r, name);

	if (!n || n->incarnation != incarnation)
		return false;
	remove_at(r, (size_t)(n - r->nodes));
	return true;
}

bool registry_heard(struct registry *r, dag_instant now, const char *name, uint64_t incarnation)
{
	struct registry_node *n = find(r, name);
	bool was;

	if (!n || n->incarnation != incarnation)
		return false;
	was = n->suspect;
	n->heard = now;
	n->suspect = false;
	return was;
}

bool registry_expire(struct registry *r, dag_instant now)
{
	bool changed = false;

	for (size_t i = 0; i < r->count;) {
		struct registry_node *n = &r->nodes[i];

		if (now - n->heard > REGISTRY_EXPIRY) {
			remove_at(r, i);
			changed = true;
			continue;
		}
		if (!n->suspect && now - n->heard > REGISTRY_SUSPECT) {
			n->suspect = true;
			changed = true;
		}
		i++;
	}
	return changed;
}
