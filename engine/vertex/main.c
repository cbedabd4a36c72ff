/* SPDX-License-Identifier: Apache-2.0 */
/* daghost: waits for STARTs, runs them, says DONE. What the daemon says is handed to whom it concerns. */
#include "arrive.h"
#include "errors.h"
#include "files.h"
#include "guard.h"
#include "host.h"
#include "pipe.h"
#include "plugin.h"
#include "run.h"
#include "scratch.h"
#include "segments.h"
#include "stages.h"
#include "writer.h"
#include "os/os.h"
#include "os/startup.h"
#include "os/strays.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define FILES_MAX 16384 /* input files that are open, and fewer where descriptors are fewer */
/* What a vertex frees is kept for the next one of its stage: fresh pages cost more than most that is done to
 * them. */
#define HEAP_BLOCK_MAX (32 << 20)
#define HEAP_KEPT (256 << 20)

static void dispatch(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len, int fd)
{
	struct dag_vertex *task = run_find_task(host, msg->task);

	switch (msg->kind) {
	case HOST_STAGE:
		stages_on_stage(host, msg, tail, fd);
		return;
	case HOST_START:
		run_on_start(host, msg, tail, tail_len);
		return;
	case HOST_SEGMENT:
		segments_map(host, msg->u.segment.id, msg->u.segment.size, fd, false);
		close(fd);
		return;
	case HOST_GRANT:
		segments_on_grant(host, msg, fd);
		return;
	case HOST_DROP:
		segments_drop(host, msg->u.segment.id);
		return;
	case HOST_HEARD:
		errors_on_heard(host);
		return;
	case HOST_EXIT:
		host->exiting = true;
		return;
	}
	/* The rest is for one task, and may come when that has ended. */
	if (!task) {
		if (fd >= 0)
			close(fd);
		return;
	}
	switch (msg->kind) {
	case HOST_CHANNEL:
		arrive_on_channel(task, msg, tail, tail_len, fd);
		break;
	case HOST_BLOCKS:
		arrive_on_blocks(task, msg, tail, tail_len / sizeof(struct block_ref));
		break;
	case HOST_END:
		arrive_on_end(task, msg);
		break;
	case HOST_CREDIT:
		writer_on_credit(task, msg);
		break;
	case HOST_CLOSED:
		writer_on_closed(task, msg);
		break;
	case HOST_PIPE:
		pipe_on_message(task, msg, fd);
		break;
	}
}

/* When the machine is out of memory, a vertex goes before a daemon. */
static void prefer_to_die(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "800", 3) < 0)
		errno = 0; /* it is only a wish */
	close(fd);
}

int main(int argc, char **argv)
{
	static struct host host;
	struct host_msg ready = {.kind = HOST_READY};
	struct rlimit no_core = {0, 0}, descriptors = {FILES_MAX, FILES_MAX};

	startup_standard_descriptors();
	if (argc == 3 && !strcmp(argv[1], "--describe"))
		return plugin_describe(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "--check"))
		return plugin_check(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf("daghost " DAGRUN_VERSION "\n");
		return 0;
	}
	if (argc != 2 || strcmp(argv[1], "--serve")) {
		fprintf(stderr, "daghost runs vertices for dagd and dagrun, which start it; it has no use of "
				"its own\n"
				"usage: daghost --describe PLUGIN.so\n");
		return 2;
	}
	setrlimit(RLIMIT_CORE, &no_core);
	getrlimit(RLIMIT_NOFILE, &descriptors);
	files_init(&host, (uint32_t)DAG_MIN(descriptors.rlim_cur / 2, (rlim_t)FILES_MAX));
	guard_begin(argv);
	errors_begin(&host);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	strays_adopt();
	prefer_to_die();
	os_be_patient();
	if (!host_init(&host, dispatch))
		return 70;
	mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_MAX);
	mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
	ready.u.ready.version = HOST_PROTO_VERSION;
	host_send(&host, &ready, NULL, 0);
	while (!host.exiting) {
		pthread_mutex_lock(&host.lock);
		while (!run_is_ready(&host) && !host.exiting)
			host_rest(&host);
		pthread_mutex_unlock(&host.lock);
		if (!host.exiting)
			run_group(&host);
	}
	scratch_drop(&host);
	return 0;
}
