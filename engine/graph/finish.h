/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GRAPH_FINISH_H
#define GRAPH_FINISH_H
/* The steps of graph_finish, in this order; each reports into diag and leaves the rest to the next. */
#include "graph.h"

void graph_report(struct dag_diag *diag, struct graph_place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The edges into open stages; first of all. */
void graph_finish_open(struct graph *graph, struct dag_diag *diag);
/* Ports: every edge ends at a port of its own, numbers without gaps. */
void graph_finish_ports(struct graph *graph, struct dag_diag *diag);
/* No cycle; sets depth. Returns the stages in an order in which producers come first, or NULL. */
const uint32_t *graph_finish_order(struct graph *graph, struct dag_diag *diag);
/* Widths from words and pointwise neighbours. */
void graph_finish_widths(struct graph *graph, struct dag_diag *diag);
/* The stages whose width is decided while the job runs: sets width_of. */
void graph_finish_running(struct graph *graph, const uint32_t *order, struct dag_diag *diag);
/* What the outputs are whose format nobody said, of inputs and programs. */
void graph_finish_formats(struct graph *graph);
/* Formats along the edges, partitions, and the streams of each stage. */
void graph_finish_streams(struct graph *graph, const uint32_t *order, struct dag_diag *diag);
/* Vertex numbers, gangs, elastic pipes. */
void graph_finish_gangs(struct graph *graph, struct dag_diag *diag);
/* Which stages run alike. */
void graph_finish_alike(struct graph *graph);

/* ---- running.c, for widths ---- */
bool graph_is_grouped(const struct graph *graph, const struct graph_stage *stage);
/* The most groups that there can be; false while the width of what is grouped is not known. */
bool graph_width_of_groups(struct graph *graph, struct graph_stage *stage);
void graph_width_by_data(struct graph *graph, struct graph_stage *stage, struct dag_diag *diag);

/* ---- formats.c, for streams ---- */
/* How many parts the pattern asks for, before the partition word is looked at. */
uint32_t graph_wanted_parts(const struct graph_edge *e);
/* What the edge brings. An input is read anew for each edge, so each may have it in another form. */
struct graph_format graph_edge_format(const struct graph *graph, const struct graph_edge *e);

/* ---- copies.c, for widths ---- */
/* False while the width of their readers is not known. */
bool graph_width_of_copies(struct graph *graph, struct graph_stage *stage);
/* Which copy each reader reads: a list. */
void graph_spread_copies(struct graph *graph, struct graph_edge *edge);

#endif
