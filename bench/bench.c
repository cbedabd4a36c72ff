/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin of the benchmarks: nothing at all, work of a length that is said, sources of records, and sinks
 * that touch every byte and time themselves. */
#include "burn.h"

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

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* One record for those that follow. */
static int first(struct dag_vertex *v)
{
	uint64_t number = dag_index(v);

	return dag_write(v, 0, &number, sizeof(number));
}

/* Adds up all that came. 0, or what a read gave. */
static int read_sum(struct dag_vertex *v, uint64_t *sum)
{
	struct dag_record r;
	uint64_t number;
	int n;

	while ((n = dag_read(v, 0, &r)) > 0)
		if (r.len == sizeof(number)) {
			memcpy(&number, r.data, sizeof(number));
			*sum += number;
		}
	return n;
}

/* Reads all that came, works for `ns` nanoseconds, and writes one record, the sum and one more: a vertex of
 * Task Bench. */
static int work(struct dag_vertex *v)
{
	uint64_t end = now_ns() + strtoull(dag_param(v, "ns"), NULL, 10), sum = 1;
	int n = read_sum(v, &sum);

	while (now_ns() < end)
		continue;
	return n < 0 ? n : dag_write(v, 0, &sum, sizeof(sum));
}

/* One record: the time, in nanoseconds. */
static int now(struct dag_vertex *v)
{
	uint64_t time = now_ns();

	return dag_write(v, 0, &time, sizeof(time));
}

/* Nanoseconds since the time that was written before, as text. What `work` adds on the way is nothing. */
static int since(struct dag_vertex *v)
{
	uint64_t time = 0;
	int n = read_sum(v, &time), len;
	char text[24];

	len = snprintf(text, sizeof(text), "%llu", (unsigned long long)(now_ns() - time));
	return n < 0 ? n : dag_write(v, 0, text, (size_t)len);
}

static int run_burn(struct dag_vertex *v)
{
	uint64_t x = burn(dag_index(v), strtoull(dag_param(v, "n"), NULL, 10));

	return dag_write(v, 0, &x, sizeof(x));
}

/* `n` records of 64 bytes, one call for each. */
static int records(struct dag_vertex *v)
{
	uint64_t n = strtoull(dag_param(v, "n"), NULL, 10), record[8] = {0};
	int r = 0;

	for (uint64_t i = 0; i < n && r >= 0; i++) {
		record[0] = i;
		r = dag_write(v, 0, record, sizeof(record));
	}
	return r;
}

/* The same, 256 at a time. */
static int records_batch(struct dag_vertex *v)
{
	uint64_t n = strtoull(dag_param(v, "n"), NULL, 10), records[256][8] = {{0}};
	struct dag_record r[256];
	int error = 0;

	for (size_t i = 0; i < 256; i++)
		r[i] = (struct dag_record){.data = (const char *)records[i], .len = sizeof(records[i])};
	for (uint64_t at = 0; at < n && error == 0; at += 256) {
		for (size_t i = 0; i < 256; i++)
			records[i][0] = at + i;
		error = dag_write_batch(v, 0, r, n - at < 256 ? (size_t)(n - at) : 256);
	}
	return error;
}

static int tell_rate(struct dag_vertex *v, uint64_t count, uint64_t since, uint64_t sum)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%.2f %llu", (double)count * 1e3 / (double)(now_ns() - since),
		(unsigned long long)sum % 10);

	return dag_write(v, 0, line, (size_t)n);
}

/* Millions of records a second, one call for each. */
static int drain(struct dag_vertex *v)
{
	uint64_t started = now_ns(), count = 0, sum = 0;
	struct dag_record r;
	int n;

	for (; (n = dag_read(v, 0, &r)) > 0; count++)
		sum += (unsigned char)r.data[0];
	return n < 0 ? n : tell_rate(v, count, started, sum);
}

/* The same in batches. */
static int drain_batch(struct dag_vertex *v)
{
	uint64_t started = now_ns(), count = 0, sum = 0;
	struct dag_record r[256];
	int n;

	for (; (n = dag_read_batch(v, 0, r, 256)) > 0; count += (uint64_t)n)
		for (int i = 0; i < n; i++)
			sum += (unsigned char)r[i].data[0];
	return n < 0 ? n : tell_rate(v, count, started, sum);
}

/* Records of 100 bytes to the part that a hash of their first ten says, as shuffle_plain.c does. */
static int by_key(struct dag_vertex *v)
{
	uint32_t parts = dag_parts(v, 0);
	struct dag_record r[256];
	int n, error = 0;

	while (!error && (n = dag_read_batch(v, 0, r, 256)) > 0)
		for (int i = 0; i < n && !error; i++) {
			uint64_t hash = 14695981039346656037u;

			for (int k = 0; k < 10; k++)
				hash = (hash ^ (unsigned char)r[i].data[k]) * 1099511628211u;
			error = dag_write_part(v, 0, (uint32_t)(hash % parts), r[i].data, r[i].len);
		}
	return error ? error : n;
}

/* Reads every byte. */
static int touch(struct dag_vertex *v)
{
	struct dag_record r[256];
	uint64_t sum = 0;
	char line[32];
	int n;

	while ((n = dag_read_batch(v, 0, r, 256)) > 0)
		for (int i = 0; i < n; i++)
			for (size_t k = 0; k < r[i].len; k++)
				sum += (unsigned char)r[i].data[k];
	n = n < 0 ? n : snprintf(line, sizeof(line), "%llu", (unsigned long long)sum);
	return n < 0 ? n : dag_write(v, 0, line, (size_t)n);
}

/* Never reads on after its first record, for as many seconds as `s` says. */
static int stall(struct dag_vertex *v)
{
	struct timespec t = {strtol(dag_param(v, "s"), NULL, 10), 0};
	struct dag_record r;
	int n = dag_read(v, 0, &r);

	nanosleep(&t, NULL);
	dag_close(v, 0);
	return n < 0 ? n : 0;
}

DAG_PLUGIN(bench, DAG_ENTRY(nothing, DAG_OUT(LINES), "nothing"),
	DAG_ENTRY(first, DAG_OUT_FIXED(8), "its index"),
	DAG_ENTRY(work, DAG_IN_FIXED(8), DAG_OUT_FIXED(8), "works for `ns` nanoseconds"),
	DAG_ENTRY(now, DAG_OUT_FIXED(8), "the time"),
	DAG_ENTRY(since, DAG_IN_FIXED(8), DAG_OUT(LINES), "nanoseconds since that time"),
	{"burn", run_burn, 0, {DAG_OUT_FIXED(8)}}, DAG_ENTRY(source, DAG_OUT(LINES), "records of 64 KiB"),
	DAG_ENTRY(sink, DAG_IN(LINES), DAG_OUT(LINES), "GB/s of what it read"),
	DAG_ENTRY(records, DAG_OUT_FIXED(64), "`n` records of 64 bytes"),
	DAG_ENTRY(records_batch, DAG_OUT_FIXED(64), "the same, written in batches"),
	DAG_ENTRY(drain, DAG_IN_FIXED(64), DAG_OUT(LINES), "millions of records a second"),
	DAG_ENTRY(drain_batch, DAG_IN_FIXED(64), DAG_OUT(LINES), "the same, read in batches"),
	DAG_ENTRY(by_key, DAG_IN_FIXED(100), DAG_OUT_FIXED(100), "records to parts by a hash"),
	DAG_ENTRY(touch, DAG_IN(ANY), DAG_OUT(LINES), "the sum of all bytes"),
	DAG_ENTRY(stall, DAG_IN(LINES), "reads one record, then nothing for `s` seconds"));
