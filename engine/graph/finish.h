/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GRAPH_FINISH_H
#define GRAPH_FINISH_H
/* The steps of graph_finish, in this order; each reports into diag and leaves the rest to the next. */
#include "graph.h"

void graph_report(struct dag_diag *diag, struct graph_place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Ports: every edge ends at a port of its own, numbers without gaps. */
void graph_finish_ports(struct graph *graph, struct dag_diag *diag);
/* No cycle; sets depth. Returns the stages in an order in which producers come first, or NULL. */
const uint32_t *graph_finish_order(struct graph *graph, struct dag_diag *diag);
/* Widths from words and pointwise neighbours. */
void graph_finish_widths(struct graph *graph, struct dag_diag *diag);
/* Formats along the edges, partitions, and the streams of each stage. */
void graph_finish_streams(struct graph *graph, const uint32_t *order, struct dag_diag *diag);
/* Vertex numbers, gangs, elastic pipes. */
void graph_finish_gangs(struct graph *graph, struct dag_diag *diag);

#endif
