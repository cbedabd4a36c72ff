/* SPDX-License-Identifier: Apache-2.0 */
/* Control messages, and the starts that are columns in them. */
#include "wire/starts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Dagrun__Envelope *e = dagrun__envelope__unpack(NULL, size, data);
	Dagrun__Start **starts;
	struct arena arena = {0};
	size_t n;

	if (e && e->body_case == DAGRUN__ENVELOPE__BODY_START && e->start &&
		starts_unpack(e->start, &arena, &starts, &n) == 0)
		for (size_t i = 0; i < n; i++)
			dagrun__start__get_packed_size(starts[i]); /* looks at all of it */
	arena_fini(&arena);
	if (e)
		dagrun__envelope__free_unpacked(e, NULL);
	return 0;
}
