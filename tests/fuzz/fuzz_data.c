/* SPDX-License-Identifier: Apache-2.0 */
/* The first frame of a data connection's message: several Data, and the blocks in them. */
#include "channel/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;
	struct block_header header;
	struct arrived block;
	Dagrun__Data *m;

	while ((m = frames_next(data, size, &at))) {
		if (frames_block(m, NULL, 0, &block) && block.header.length)
			block.header.checksum ^=
				hash_64(block.payload, block.header.length); /* all can be read */
		dagrun__data__free_unpacked(m, NULL);
	}
	if (size >= sizeof(header)) {
		memcpy(&header, data, sizeof(header));
		if (block_header_check(&header) == 0 && header.length > BLOCK_LEN_MAX)
			abort();
	}
	return 0;
}
