/* SPDX-License-Identifier: Apache-2.0 */
/* Control messages. */
#include "dagrun.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Dagrun__Envelope *e = dagrun__envelope__unpack(NULL, size, data);

	if (e)
		dagrun__envelope__free_unpacked(e, NULL);
	return 0;
}
