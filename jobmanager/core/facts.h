/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_FACTS_H
#define CORE_FACTS_H
#include "state.h"

void fact_started(struct jm *jm, uint32_t vertex, uint32_t attempt, uint32_t node, uint32_t count);
void fact_committed(struct jm *jm, uint32_t vertex, const struct jm_outcome *o);
/* A node came up, was gone ("node-up", "node-down"), or its daemon ended ("node-ended"). */
void fact_node(struct jm *jm, const char *word, const char *name);
/* Of two hexadecimal digits; −1. */
int fact_byte(const char *text);
/* Takes a number, and blanks before it; false where there is none. As sscanf, which measures all that
 * follows. */
bool fact_number(const char **text, uint32_t *ret_number);
/* The name that such a fact has, allocated. */
char *fact_unescape(const char *text);

#endif
