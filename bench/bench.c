/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin of the benchmarks: nothing at all, a source of records, and a sink that touches every byte and
 * times itself. */
#include <dagrun/vertex.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int nothing(struct dag_vertex *v)
{
	(void)v;
	return 0;
}

#define RECORD 65532u /* with its length, a sixty-fourth of a MiB */

static int source(struct dag_vertex *v)
{
	uint64_t left = strtoull(dag_param(v, "bytes"), NULL, 10);
	static char record[RECORD];

	memset(record, 'x', sizeof(record));
	for (; left >= RECORD; left -= RECORD) {
		int r = dag_write(v, 0, record, RECORD);

		if (r < 0)
			return r;
	}
	return 0;
}

static int sink(struct dag_vertex *v)
{
	struct timespec a, b;
	struct dag_record r;
	uint64_t sum = 0, bytes = 0, word;
	char line[64];
	int n;

	clock_gettime(CLOCK_MONOTONIC, &a);
	while ((n = dag_read(v, 0, &r)) > 0) {
		for (size_t i = 0; i + 8 <= r.len; i += 8) {
			memcpy(&word, r.data + i, 8);
			sum += word;
		}
		bytes += r.len;
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (n < 0)
		return n;
	n = snprintf(line, sizeof(line), "%.3f %llu",
		(double)bytes / 1e9 / ((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9),
		(unsigned long long)sum % 10);
	return dag_write(v, 0, line, (size_t)n);
}

DAG_PLUGIN(bench, DAG_ENTRY(nothing, DAG_OUT(LINES), "nothing"),
	DAG_ENTRY(source, DAG_OUT(LINES), "records of 64 KiB"),
	DAG_ENTRY(sink, DAG_IN(LINES), DAG_OUT(LINES), "GB/s of what it read"));
