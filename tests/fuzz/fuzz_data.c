/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of data connections: the message, and the block's header. */
#include "channel/block.h"
#include "dagrun.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Dagrun__Data *m = dagrun__data__unpack(NULL, size, data);
	struct block_header header;

	if (m)
		dagrun__data__free_unpacked(m, NULL);
	if (size >= sizeof(header)) {
		memcpy(&header, data, sizeof(header));
		if (block_header_check(&header) == 0 && header.length > BLOCK_LEN_MAX)
			abort();
	}
	return 0;
}
