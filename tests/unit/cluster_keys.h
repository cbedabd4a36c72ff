/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CLUSTER_KEYS_H
#define TESTS_CLUSTER_KEYS_H
#include "unit.h"
#include "os/os.h"
#include "wire/keys.h"

/* A cluster's keys, for the length of a test. */
static struct wire_keys *make_keys(char folder[static 64])
{
	struct wire_keys *keys = NULL;
	struct dag_diag diag = {0};

	unit_folder(folder);
	assert_int_equal(keys_generate(folder, &diag), 0);
	assert_int_equal(keys_load(folder, &keys, &diag), 0);
	assert_int_equal(keys_guard(keys, &diag), 0);
	return keys;
}

static void drop_keys(struct wire_keys **keys, const char *folder)
{
	keys_destroy(keys);
	os_remove_tree(folder);
}

#endif
