/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LANG_FLOW_H
#define LANG_FLOW_H
/*
 * Dryad's algebra as text: `a.1 >= b.0 >> c^4 || a >= d`. Parsed into ends and joints; what the names mean is
 * the loader's business.
 */
#include "base/arena.h"

#define FLOW_PORT_NEXT UINT32_MAX /* no number was written */

struct flow_end {
	const char *name;
	uint32_t out_port; /* as a producer */
	uint32_t in_port;  /* as a consumer */
	uint64_t clones;   /* 0: none said */
	int column;        /* within the text, from 0 */
};

struct flow_joint {
	struct flow_end from, to;
	bool complete; /* `>>`, else `>=` */
};

struct flow {
	struct flow_joint *joints;
	size_t joint_count, joint_cap;
	struct flow_end *ends; /* every end that was written, for names and clones */
	size_t end_count, end_cap;
};

/* DAG_EINVAL with what was expected and the column (from 0) where it was missing. flow_fini frees either way.
 */
int flow_parse(
	const char *text, struct arena *arena, struct flow *ret_flow, char **ret_error, int *ret_column);
void flow_fini(struct flow *flow);

#endif
