/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of 100 bytes in order, as one would write it in an afternoon: the file in memory, pointers sorted by
 * qsort, one run a thread, a merge of the runs.
 *
 * usage: sort_plain FILE OUT [THREADS: 1 or 2]
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define LINE 100

struct run {
	const char **lines;
	size_t count;
};

static int compare(const void *a, const void *b)
{
	return memcmp(*(const char *const *)a, *(const char *const *)b, LINE);
}

static void *sort(void *arg)
{
	struct run *r = arg;

	qsort(r->lines, r->count, sizeof(*r->lines), compare);
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_RDONLY) : -1, threads = argc > 3 ? atoi(argv[3]) : 1;
	FILE *out = argc > 2 ? fopen(argv[2], "w") : NULL;
	struct run a, b = {0};
	struct stat st;
	const char *data, **lines;
	pthread_t other;
	size_t n;

	if (fd < 0 || !out || fstat(fd, &st) < 0)
		return 2;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	n = (size_t)st.st_size / LINE;
	lines = malloc((n + 1) * sizeof(*lines));
	if (data == MAP_FAILED || !lines)
		return 2;
	for (size_t i = 0; i < n; i++)
		lines[i] = data + i * LINE;
	a = (struct run){lines, threads > 1 ? n / 2 : n};
	b = (struct run){lines + a.count, n - a.count};
	if (b.count && pthread_create(&other, NULL, sort, &b))
		return 2;
	sort(&a);
	if (b.count)
		pthread_join(other, NULL);
	setvbuf(out, NULL, _IOFBF, 1 << 20);
	while (a.count || b.count) {
		struct run *r = !b.count || (a.count && compare(a.lines, b.lines) <= 0) ? &a : &b;

		fwrite(*r->lines++, 1, LINE, out);
		r->count--;
	}
	return fclose(out) != 0;
}
