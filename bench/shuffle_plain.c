/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shuffle of 100-byte records by two processes: each takes every other one of W parts of the file, writes
 * its records to one file a consumer by a hash of their first ten bytes, and then reads every other
 * consumer's files.
 *
 * usage: shuffle_plain FILE FOLDER W
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECORD 100
#define WIDTH_MAX 64

static const char *data;
static size_t records;
static const char *folder;
static int width;
static volatile uint64_t seen; /* so that reading is not left out */

static FILE *part(int producer, int consumer, const char *mode)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%d-%d", folder, producer, consumer);
	f = fopen(path, mode);
	if (!f)
		exit(2);
	setvbuf(f, NULL, _IOFBF, 256 << 10);
	return f;
}

static void partition(int producer)
{
	size_t from = records / (size_t)width * (size_t)producer,
	       to = producer + 1 < width ? from + records / (size_t)width : records;
	FILE *out[WIDTH_MAX];

	for (int c = 0; c < width; c++)
		out[c] = part(producer, c, "w");
	for (size_t i = from; i < to; i++) {
		const unsigned char *r = (const unsigned char *)data + i * RECORD;
		uint64_t hash = 14695981039346656037u; /* FNV-1a */

		for (int k = 0; k < 10; k++)
			hash = (hash ^ r[k]) * 1099511628211u;
		fwrite(r, 1, RECORD, out[hash % (uint64_t)width]);
	}
	for (int c = 0; c < width; c++)
		if (fclose(out[c]))
			exit(2);
}

static uint64_t consume(int consumer)
{
	unsigned char record[RECORD];
	uint64_t sum = 0;

	for (int p = 0; p < width; p++) {
		FILE *in = part(p, consumer, "r");

		while (fread(record, 1, RECORD, in) == RECORD)
			for (int k = 0; k < RECORD; k++)
				sum += record[k];
		fclose(in);
	}
	return sum;
}

/* Both processes do one half of `what`. */
static void two(int what)
{
	for (int process = 0; process < 2; process++)
		if (fork() == 0) {
			for (int i = process; i < width; i += 2)
				if (what)
					seen += consume(i);
				else
					partition(i);
			_exit(0);
		}
	for (int process = 0; process < 2; process++) {
		int status;

		if (wait(&status) < 0 || status)
			exit(2);
	}
}

int main(int argc, char **argv)
{
	int fd = argc == 4 ? open(argv[1], O_RDONLY) : -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 2;
	folder = argv[2];
	width = atoi(argv[3]);
	if (width < 1 || width > WIDTH_MAX)
		return 2;
	records = (size_t)st.st_size / RECORD;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	two(0);
	two(1);
	return 0;
}
