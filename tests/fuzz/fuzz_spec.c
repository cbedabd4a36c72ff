/* SPDX-License-Identifier: Apache-2.0 */
/* A stage's description, as a host gets it. */
#include "vertex/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stage_spec spec;
	struct arena arena = {0};

	if (stage_spec_decode(data, size, &arena, &spec) == 0) {
		struct buffer again = {0};

		stage_spec_encode(&spec, &again);
		buffer_fini(&again);
	}
	arena_fini(&arena);
	return 0;
}
