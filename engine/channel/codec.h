/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHANNEL_CODEC_H
#define CHANNEL_CODEC_H
/*
 * Packed blocks: the records of a block as LZ4 (lz4.github.io/lz4) or Zstandard (RFC 8878) makes them, behind
 * a u32 with their length. What a block cannot spare a sixteenth of stays as it is, so a reader looks at each
 * block's kind.
 */
#include "block.h"

struct codec; /* the working memory of one stream */

/* kind: BLOCK_LZ4 or BLOCK_ZSTD. */
struct codec *codec_new(enum block_kind kind);
void codec_destroy(struct codec **codec);
/* Packs records in place; their new length, or `len` where they stay as they are. */
uint32_t codec_pack(struct codec *codec, unsigned char *records, uint32_t len);
static inline bool codec_is_packed(uint32_t kind)
{
	return kind == BLOCK_LZ4 || kind == BLOCK_ZSTD;
}
/* Unpacks a block into *buf, which grows where it must and is the caller's to free. DAG_ECORRUPT. */
int codec_unpack(uint32_t kind, const unsigned char *block, uint32_t len, unsigned char **buf, size_t *cap,
	uint32_t *ret_len);

#endif
