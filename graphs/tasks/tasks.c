/* SPDX-License-Identifier: Apache-2.0 */
/* What the tasks do. */
#include <dagrun/vertex.h>

#include <stdio.h>
#include <stdlib.h>

static int write_number(struct dag_vertex *v, long long n)
{
	char text[32];

	return dag_write(v, 0, text, (size_t)snprintf(text, sizeof(text), "%lld", n));
}

static int square(struct dag_vertex *v)
{
	size_t len;
	long long n = atoll(dag_argument(v, &len));

	return len ? write_number(v, n * n) : dag_fail(v, "a square needs a number");
}

static int sum(struct dag_vertex *v)
{
	long long total = 0;
	struct dag_record r;
	char text[32];
	int n = 0;

	for (uint32_t port = 0; port < 2; port++)
		while ((n = dag_read(v, port, &r)) > 0) {
			snprintf(text, sizeof(text), "%.*s", (int)r.len, r.data);
			total += atoll(text);
		}
	return n < 0 ? n : write_number(v, total);
}

DAG_PLUGIN(tasks, DAG_ENTRY(square, DAG_OUT(LINES), "the square of its argument"),
	DAG_ENTRY(sum, DAG_IN(LINES), DAG_IN(LINES), DAG_OUT(LINES), "the sum of what it reads"));
