/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LOOP_H
#define TESTS_LOOP_H
/* A loop of its own, with sockets, for each test. */
#include "unit.h"
#include "wire/socket.h"

static uv_loop_t loop;
static struct wire_loop *wire;

static int setup(void **state)
{
	(void)state;
	uv_loop_init(&loop);
	wire_loop_new(&wire, &loop);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wire_loop_destroy(&wire);
	while (uv_run(&loop, UV_RUN_NOWAIT))
		;
	return uv_loop_close(&loop);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
