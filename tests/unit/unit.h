/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H
/* What cmocka wants included before it, and a folder that goes with the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static inline char *unit_folder(char buf[64])
{
	strcpy(buf, "/tmp/dagrun-unit-XXXXXX");
	assert_non_null(mkdtemp(buf));
	return buf;
}

#endif
