/* SPDX-License-Identifier: Apache-2.0 */
/* What a program may do wrong with dagrun/job.h: each gives its error, and the job goes on to its end. */
#include <dagrun/job.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char large[DAG_ARGUMENT_MAX + 1];
static int failed;

static void want(int line, int got, int wanted)
{
	if (got == wanted)
		return;
	failed = 1;
	fprintf(stderr, "misuse.c:%d: %d, not %d\n", line, got, wanted);
}

#define WANT(call, result) want(__LINE__, call, result)

static void on_line(void *ctx, const char *line)
{
	fprintf(stderr, "%s: %s\n", (const char *)ctx, line);
}

int main(int argc, char **argv)
{
	struct dag_job_options options = {sizeof(options), .params = (const char *const[]){"novalue", NULL},
		.say = on_line, .ctx = "said"};
	struct dag_job_input square = {"square", 0}, later = {"square", 7}, none = {"none", 0};
	struct dag_job *job;
	uint32_t index = 99;
	int adopts = -1;
	pid_t child;
	size_t len;
	void *data;

	if (argc < 4)
		return 2;
	child = fork();
	if (child == 0) {
		sleep(600);
		_exit(0);
	}
	WANT(dag_job_open(&job, &options), DAG_EINVAL);
	options.graph = argv[1];
	WANT(dag_job_open(&job, &options), DAG_EINVAL);
	options.params = NULL;
	options.graph = argv[3]; /* reads stdin */
	WANT(dag_job_open(&job, &options), DAG_EINVAL);
	options.graph = argv[1];
	options.params = (const char *const[]){argv[2], NULL};
	WANT(dag_job_open(&job, &options), 0);
	WANT(dag_job_add(job, "squares", "1", 1, NULL, 0, &index), DAG_EINVAL);
	WANT(dag_job_add(job, "all", "1", 1, NULL, 0, &index), DAG_EINVAL);
	WANT(dag_job_add(job, "square", large, sizeof(large), NULL, 0, &index), DAG_ELIMIT);
	WANT(dag_job_add(job, "sum", NULL, 0, &square, 1, &index), DAG_EINVAL); /* there is none yet */
	WANT(dag_job_add(job, "square", "-3", 2, NULL, 0, &index), 0);
	WANT((int)index, 0);
	WANT(dag_job_add(job, "square", "4", 1, &square, 1, &index), DAG_EINVAL); /* no such edge */
	WANT(dag_job_add(job, "sum", NULL, 0, &later, 1, &index), DAG_EINVAL);
	WANT(dag_job_add(job, "sum", NULL, 0, &none, 1, &index), DAG_EINVAL);
	WANT(dag_job_add(job, "sum", NULL, 0, &square, 1, &index), 0);
	WANT(dag_job_read(job, "sum", 1, 0, &data, &len), DAG_EINVAL);
	WANT(dag_job_read(job, "sum", 0, 1, &data, &len), DAG_EINVAL);
	WANT(dag_job_ended(job, "sum", 1), DAG_EINVAL);
	for (int i = 0; i < 2; i++) { /* the second time it is fetched */
		WANT(dag_job_read(job, "sum", 0, 0, &data, &len), 0);
		WANT(len == 2 && !strcmp(data, "9\n"), 1);
		free(data);
	}
	WANT(dag_job_ended(job, "sum", 0), 1);
	WANT(dag_job_poll(job, 10), 0);
	WANT(dag_job_close(job, "square"), 0);
	WANT(dag_job_close(job, "square"), 0);
	WANT(dag_job_add(job, "square", "4", 1, NULL, 0, &index), DAG_EINVAL);
	WANT(dag_job_close(job, "all"), DAG_EINVAL);
	WANT(dag_job_finish(job), 0);
	WANT(dag_job_add(job, "sum", NULL, 0, &square, 1, &index) < 0, 1);
	WANT(*dag_job_error(job), 0);
	dag_job_destroy(&job);
	dag_job_destroy(&job);
	/* One that ends by the way. */
	WANT(dag_job_open(&job, &options), 0);
	WANT(dag_job_add(job, "square", "", 0, NULL, 0, &index), 0);
	WANT(dag_job_read(job, "square", index, 0, &data, &len), DAG_EFAILED);
	WANT(strstr(dag_job_error(job), "a square needs a number") != NULL, 1);
	WANT(dag_job_add(job, "square", "1", 1, NULL, 0, &index), DAG_EFAILED);
	WANT(dag_job_poll(job, 10), DAG_EFAILED);
	WANT(dag_job_finish(job), DAG_EFAILED);
	dag_job_destroy(&job);
	/* What this program started by itself is nobody else's, and what it left behind is not its own. */
	WANT(waitpid(child, NULL, WNOHANG), 0);
	WANT(prctl(PR_GET_CHILD_SUBREAPER, &adopts), 0);
	WANT(adopts, 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	WANT(waitpid(-1, NULL, WNOHANG), -1);
	return failed;
}
