/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GRAPH_ALIKE_H
#define GRAPH_ALIKE_H
/* What keys of stages are made of. */
#include "base/buffer.h"
#include "graph.h"

void graph_put_pairs(struct buffer *b, const struct graph_pair *pairs, uint32_t n);
void graph_put_format(struct buffer *b, struct graph_format format);

#endif
