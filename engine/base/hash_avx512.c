/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3 for processors with AVX-512; meson compiles this file with -mavx512f. */
#define HASH_TABLE hash_table_avx512
#include "hash_impl.h"
