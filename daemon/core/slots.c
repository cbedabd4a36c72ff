/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds: everybody who still wants gets an equal share of what is left, in whole slots while that goes. */
#include "daemon/core/slots.h"
#include "graph/graph.h"

void slots_divide(uint32_t total, const uint32_t *wants, const uint32_t *leasts, uint32_t *grants, size_t n)
{
	uint32_t left = total;

	for (size_t i = 0; i < n; i++) {
		grants[i] = DAG_MIN(DAG_MIN(leasts[i], wants[i]), left);
		left -= grants[i];
	}
	for (;;) {
		uint32_t hungry = 0, share;

		for (size_t i = 0; i < n; i++)
			hungry += grants[i] < wants[i];
		if (!hungry || !left)
			return;
		share = left / hungry;
		if (share >= GRAPH_CPU_SHARES)
			share -= share % GRAPH_CPU_SHARES;
		share = DAG_MAX(share, DAG_MIN(left, GRAPH_CPU_SHARES));
		for (size_t i = 0; i < n && left; i++) {
			uint32_t more = DAG_MIN(DAG_MIN(share, wants[i] - grants[i]), left);

			grants[i] += more;
			left -= more;
		}
	}
}
