/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3 for processors with AVX2; meson compiles this file with -mavx2. */
#define HASH_TABLE hash_table_avx2
#include "hash_impl.h"
