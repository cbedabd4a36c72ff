/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GRAPH_DOT_H
#define GRAPH_DOT_H
/* A finished graph as text for Graphviz: a node a stage, an edge an edge. */
#include "graph.h"
#include "base/buffer.h"

void graph_write_dot(const struct graph *graph, struct buffer *ret_text);

#endif
