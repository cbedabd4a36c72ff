/* SPDX-License-Identifier: Apache-2.0 */
/* The index of an attempt's outputs, which users' code could have written over. */
#include "channel/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *copy = aligned_alloc(64, (size + 64) & ~(size_t)63);
	struct index_view view;

	memcpy(copy, data, size);
	if (index_check(copy, size, &view) == 0) {
		index_hash(&view);
		for (uint32_t i = 0; i < view.header->streams; i++) {
			const struct index_part *p = index_part(&view, i, view.streams[i].parts - 1);

			for (uint32_t b = 0; p && b < p->block_count; b++)
				if (view.blocks[p->first_block + b].length == 0xdeadbeef)
					abort();
		}
	}
	free(copy);
	return 0;
}
