/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bare limit beside a pipe on one node: blocks of 256 KiB in a pool in shared memory, filled record by
 * record, hashed by writer and reader; the reader touches every byte once. Two processes, two semaphores.
 * Prints GB/s.
 *
 * usage: pool_pipe BYTES
 */
#include "rate.h"
#include "base/hash.h"
#include "base/size.h"

#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK (256u << 10)
#define BLOCKS 16u
#define RECORD (64u << 10)

struct pool {
	sem_t filled, empty;
	_Alignas(64) unsigned char blocks[BLOCKS][BLOCK];
};

static void produce(struct pool *p, uint64_t count)
{
	struct hash_state *hash = hash_state_new();
	static unsigned char record[RECORD];

	memset(record, 'x', sizeof(record));
	for (uint64_t i = 0; i < count; i++) {
		unsigned char *block = p->blocks[i % BLOCKS];

		sem_wait(&p->empty);
		for (uint32_t at = 0; at < BLOCK; at += RECORD)
			memcpy(block + at, record, RECORD);
		hash_state_update(hash, block, BLOCK);
		sem_post(&p->filled);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct hash_state *hash = hash_state_new();
	uint64_t bytes, sum = 0, count;
	double started;
	struct pool *p;

	if (argc != 2 || size_parse_bytes(argv[1], &bytes) < 0)
		return 2;
	count = bytes / BLOCK;
	p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || sem_init(&p->filled, 1, 0) < 0 || sem_init(&p->empty, 1, BLOCKS) < 0)
		return 2;
	if (fork() == 0)
		produce(p, count);
	started = now_s();
	for (uint64_t i = 0; i < count; i++) {
		const unsigned char *block = p->blocks[i % BLOCKS];
		uint64_t word;

		sem_wait(&p->filled);
		hash_state_update(hash, block, BLOCK);
		for (uint32_t at = 0; at < BLOCK; at += sizeof(word)) {
			memcpy(&word, block + at, sizeof(word));
			sum += word;
		}
		sem_post(&p->empty);
	}
	print_rate(count * BLOCK, started, sum + hash_state_digest(hash).low);
	wait(NULL);
	return 0;
}
