/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adds the squares of 1 to N as a tree: each square is a task, each sum of up to eight of them another, and
 * so on.
 *
 *   client GRAPH N [NAME=VALUE]…
 */
#include <dagrun/job.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAN 8

int main(int argc, char **argv)
{
	struct dag_job_options options = {sizeof(options), .nameserver = getenv("NAMESERVER")};
	struct dag_job_input *level;
	uint32_t count, index;
	struct dag_job *job;
	size_t len;
	void *data;
	int r;

	if (argc < 3) {
		fprintf(stderr, "usage: client GRAPH N [NAME=VALUE]…\n");
		return 2;
	}
	options.graph = argv[1];
	options.params = (const char *const *)argv + 3;
	if (dag_job_open(&job, &options) < 0)
		return 3;
	count = (uint32_t)atoi(argv[2]);
	level = calloc(count + 1, sizeof(*level));
	for (uint32_t i = 0; i < count; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%u", i + 1);
		r = dag_job_add(job, "square", text, strlen(text), NULL, 0, &index);
		if (r < 0)
			goto out;
		level[i] = (struct dag_job_input){"square", index};
	}
	do {
		uint32_t sums = 0;

		for (uint32_t i = 0; i < count; i += FAN) {
			r = dag_job_add(
				job, "sum", NULL, 0, level + i, count - i < FAN ? count - i : FAN, &index);
			if (r < 0)
				goto out;
			level[sums++] = (struct dag_job_input){"sum", index};
		}
		count = sums;
	} while (count > 1);
	r = dag_job_read(job, "sum", index, 0, &data, &len);
	if (r < 0)
		goto out;
	printf("%s", (char *)data);
	free(data);
	r = dag_job_finish(job);
out:
	if (r < 0)
		fprintf(stderr, "client: %s (%d)\n", dag_job_error(job), r);
	free(level);
	dag_job_destroy(&job);
	return r < 0;
}
