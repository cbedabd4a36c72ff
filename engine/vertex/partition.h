/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_PARTITION_H
#define VERTEX_PARTITION_H
/* Which part a record goes to. */
#include "part.h"

uint32_t partition_pick(struct out_stream *stream, enum dag_format_kind format, const void *key,
	size_t key_len, const void *data, size_t len);

#endif
