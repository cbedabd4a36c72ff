/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vertex is added to a running job and its result is read, again and again: prints the microseconds of
 * each.
 *
 * usage: add_vertex GRAPH ROUNDS [NAMESERVER]
 */
#include <dagrun/job.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
	struct dag_job_options options = {sizeof(options)};
	struct dag_job *job;
	uint32_t index;
	size_t len;
	void *data;
	int r;

	if (argc < 3) {
		fprintf(stderr, "usage: add_vertex GRAPH ROUNDS [NAMESERVER]\n");
		return 2;
	}
	options.graph = argv[1];
	options.nameserver = argv[3];
	r = dag_job_open(&job, &options);
	for (int i = 0; r == 0 && i < atoi(argv[2]); i++) {
		double began = now_us();

		r = dag_job_add(job, "square", "12", 2, NULL, 0, &index);
		if (r == 0)
			r = dag_job_read(job, "square", index, 0, &data, &len);
		if (r < 0)
			break;
		printf("%.1f\n", now_us() - began);
		if (strcmp(data, "144\n"))
			return 1;
		free(data);
	}
	if (r < 0)
		fprintf(stderr, "add_vertex: %d\n", r);
	dag_job_destroy(&job);
	return r < 0;
}
