/* SPDX-License-Identifier: Apache-2.0 */
/* Hash tables: uthash, which for lack of memory ends in base_oom as all else does. */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include "base.h"

#define uthash_fatal(msg) base_oom(0)
#include <uthash.h>

#endif
