/* SPDX-License-Identifier: Apache-2.0 */
#include "codec.h"

#include <lz4.h>
#include <zstd.h>

#define ZSTD_LEVEL 1
#define PREFIX sizeof(uint32_t)

struct codec {
	enum block_kind kind;
	ZSTD_CCtx *zstd;
	unsigned char *packed;
	size_t cap;
};

struct codec *codec_new(enum block_kind kind)
{
	struct codec *c = base_alloc(sizeof(*c));

	c->kind = kind;
	if (kind == BLOCK_ZSTD) {
		c->zstd = ZSTD_createCCtx();
		if (!c->zstd)
			base_oom(0);
	}
	return c;
}

void codec_destroy(struct codec **codec)
{
	if (!*codec)
		return;
	ZSTD_freeCCtx((*codec)->zstd);
	free((*codec)->packed);
	free(*codec);
	*codec = NULL;
}

uint32_t codec_pack(struct codec *c, unsigned char *records, uint32_t len)
{
	size_t room = len - len / 16, n;

	if (len < 64 || len > LZ4_MAX_INPUT_SIZE)
		return len;
	if (c->cap < room) {
		c->packed = base_realloc(c->packed, room);
		c->cap = room;
	}
	if (c->kind == BLOCK_LZ4) {
		n = (size_t)LZ4_compress_default(
			(const char *)records, (char *)c->packed, (int)len, (int)(room - PREFIX));
	} else {
		n = ZSTD_compressCCtx(c->zstd, c->packed, room - PREFIX, records, len, ZSTD_LEVEL);
		n = ZSTD_isError(n) ? 0 : n; /* it does not fit */
	}
	if (!n)
		return len;
	memcpy(records, &len, PREFIX);
	memcpy(records + PREFIX, c->packed, n);
	return (uint32_t)(PREFIX + n);
}

int codec_unpack(uint32_t kind, const unsigned char *block, uint32_t len, unsigned char **buf, size_t *cap,
	uint32_t *ret_len)
{
	uint32_t plain;
	size_t n;

	if (len <= PREFIX)
		return DAG_ECORRUPT;
	memcpy(&plain, block, PREFIX);
	if (plain > BLOCK_LEN_MAX)
		return DAG_ECORRUPT;
	if (*cap < plain) {
		*buf = base_realloc(*buf, plain);
		*cap = plain;
	}
	if (kind == BLOCK_LZ4) {
		int r = LZ4_decompress_safe(
			(const char *)block + PREFIX, (char *)*buf, (int)(len - PREFIX), (int)plain);

		n = r < 0 ? 0 : (size_t)r;
	} else {
		n = ZSTD_decompress(*buf, plain, block + PREFIX, len - PREFIX);
	}
	*ret_len = plain;
	return n == plain ? 0 : DAG_ECORRUPT;
}
