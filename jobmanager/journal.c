/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of facts, and a thread that turns all that is in it into one transaction. */
#include "journal.h"
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <unistd.h>

#define APPLICATION_ID 0x64616772 /* "dagr" */
#define SCHEMA_VERSION 1
#define RETRY_MS 1000

struct journal {
	struct journal_config config;
	char *path, *job, *graph_name, *graph_file;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	char **queue;
	size_t count, cap;
	uint64_t appended, durable;
	bool stopping;
	char *trouble; /* to be told; guarded by lock */
	bool trouble_new, trouble_final, trouble_over;
	uv_async_t wake;
	sqlite3 *db;
};

static void tell_trouble(struct journal *j, const char *text, bool final)
{
	pthread_mutex_lock(&j->lock);
	if (!j->trouble && text) {
		j->trouble = base_strdup(text);
		j->trouble_new = true;
	}
	j->trouble_final = j->trouble_final || final;
	if (!text && j->trouble) {
		free(j->trouble);
		j->trouble = NULL;
		j->trouble_over = true;
	}
	pthread_mutex_unlock(&j->lock);
	uv_async_send(&j->wake);
}

static int run_sql(struct journal *j, const char *sql)
{
	return sqlite3_exec(j->db, sql, NULL, NULL, NULL);
}

static int put_meta(struct journal *j, const char *key, const char *value)
{
	sqlite3_stmt *stmt;
	int r = sqlite3_prepare_v2(
		j->db, "INSERT OR REPLACE INTO job(key, value) VALUES(?, ?)", -1, &stmt, NULL);

	if (r != SQLITE_OK)
		return r;
	sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 2, value, -1, SQLITE_STATIC);
	r = sqlite3_step(stmt);
	sqlite3_finalize(stmt);
	return r == SQLITE_DONE ? SQLITE_OK : r;
}

static int open_database(struct journal *j)
{
	char epoch[16], *setup;
	int r = sqlite3_open_v2(j->path, &j->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
		NULL);

	if (r != SQLITE_OK)
		return r;
	snprintf(epoch, sizeof(epoch), "%u", j->config.epoch);
	setup = base_format(
		"PRAGMA trusted_schema=OFF; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; BEGIN;"
		"PRAGMA application_id=%d; PRAGMA user_version=%d;"
		"CREATE TABLE IF NOT EXISTS job(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
		"CREATE TABLE IF NOT EXISTS facts(seq INTEGER PRIMARY KEY, fact TEXT NOT NULL);",
		APPLICATION_ID, SCHEMA_VERSION);
	r = run_sql(j, setup);
	free(setup);
	if (r == SQLITE_OK)
		r = put_meta(j, "job", j->job);
	if (r == SQLITE_OK)
		r = put_meta(j, "graph", j->graph_name);
	if (r == SQLITE_OK)
		r = put_meta(j, "file", j->graph_file);
	if (r == SQLITE_OK)
		r = put_meta(j, "epoch", epoch);
	return r == SQLITE_OK ? run_sql(j, "COMMIT") : r;
}

static int write_group(struct journal *j, char **facts, size_t n, uint64_t first)
{
	sqlite3_stmt *stmt = NULL;
	int r = run_sql(j, "BEGIN");

	if (r == SQLITE_OK)
		r = sqlite3_prepare_v2(j->db, "INSERT INTO facts(seq, fact) VALUES(?, ?)", -1, &stmt, NULL);
	for (size_t i = 0; i < n && r == SQLITE_OK; i++) {
		sqlite3_bind_int64(stmt, 1, (sqlite3_int64)(first + i));
		sqlite3_bind_text(stmt, 2, facts[i], -1, SQLITE_STATIC);
		r = sqlite3_step(stmt);
		r = r == SQLITE_DONE ? SQLITE_OK : r;
		sqlite3_reset(stmt);
	}
	sqlite3_finalize(stmt);
	if (r == SQLITE_OK)
		r = run_sql(j, "COMMIT");
	if (r != SQLITE_OK && !sqlite3_get_autocommit(j->db))
		run_sql(j, "ROLLBACK");
	return r;
}

static bool is_stopping(struct journal *j)
{
	bool stopping;

	pthread_mutex_lock(&j->lock);
	stopping = j->stopping;
	pthread_mutex_unlock(&j->lock);
	return stopping;
}

/* A full disk may get room again; anything else will not mend itself, least of all a failed fsync. */
static bool wait_for_room(struct journal *j, int r)
{
	char *text;
	bool final = r != SQLITE_FULL && r != SQLITE_BUSY;

	text = base_format("the journal %s cannot be written: %s%s", j->path, sqlite3_errstr(r),
		final ? "" : "; the job is paused until there is room");
	tell_trouble(j, text, final);
	free(text);
	for (int ms = 0; !final && ms < RETRY_MS && !is_stopping(j); ms += 50)
		usleep(50000);
	return !final && !is_stopping(j);
}

static void *run_journal(void *arg)
{
	struct journal *j = arg;
	uint64_t next = 1;
	int r;

	while ((r = open_database(j)) != SQLITE_OK) {
		sqlite3_close(j->db);
		if (!wait_for_room(j, r))
			return NULL;
	}
	for (;;) {
		char **facts;
		size_t n;

		pthread_mutex_lock(&j->lock);
		while (!j->count && !j->stopping)
			pthread_cond_wait(&j->more, &j->lock);
		facts = j->queue;
		n = j->count;
		j->queue = NULL;
		j->count = j->cap = 0;
		pthread_mutex_unlock(&j->lock);
		if (!n)
			break;
		while ((r = write_group(j, facts, n, next)) != SQLITE_OK)
			if (!wait_for_room(j, r))
				break;
		for (size_t i = 0; i < n; i++)
			free(facts[i]);
		free(facts);
		if (r != SQLITE_OK)
			break;
		next += n;
		pthread_mutex_lock(&j->lock);
		j->durable = next - 1;
		pthread_mutex_unlock(&j->lock);
		tell_trouble(j, NULL, false);
	}
	sqlite3_close(j->db);
	return NULL;
}

static void on_wake(uv_async_t *wake)
{
	struct journal *j = wake->data;
	char *text = NULL;
	bool final, over;
	uint64_t durable;

	pthread_mutex_lock(&j->lock);
	durable = j->durable;
	final = j->trouble_final;
	over = j->trouble_over;
	if (j->trouble_new && j->trouble)
		text = base_strdup(j->trouble);
	j->trouble_new = j->trouble_over = false;
	pthread_mutex_unlock(&j->lock);
	if (text || over)
		j->config.on_trouble(j->config.ctx, text, final);
	free(text);
	j->config.on_durable(j->config.ctx, durable);
}

int journal_new(uv_loop_t *loop, const struct journal_config *config, struct journal **ret_journal,
	struct dag_diag *diag)
{
	struct journal *j;

	if (os_make_folders(config->folder) < 0) {
		dag_diag_add(diag, NULL, 0, 0, "cannot make the job's folder %s: %s", config->folder,
			strerror(errno));
		return DAG_EIO;
	}
	if (os_is_network_fs(config->folder)) {
		dag_diag_add(diag, NULL, 0, 0,
			"the job's folder %s lies on a network file system, where a journal is not safe; set "
			"XDG_STATE_HOME to a "
			"local folder",
			config->folder);
		return DAG_EIO;
	}
	j = base_alloc(sizeof(*j));
	j->config = *config;
	j->path = base_format("%s/journal.db", config->folder);
	j->job = base_strdup(config->job);
	j->graph_name = base_strdup(config->graph_name);
	j->graph_file = base_strdup(config->graph_file ? config->graph_file : "");
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->more, NULL);
	uv_async_init(loop, &j->wake, on_wake);
	j->wake.data = j;
	DAG_ASSERT(pthread_create(&j->thread, NULL, run_journal, j) == 0);
	*ret_journal = j;
	return 0;
}

uint64_t journal_append(struct journal *j, const char *fact)
{
	uint64_t seq;

	pthread_mutex_lock(&j->lock);
	*DAG_APPEND(j->queue, j->count, j->cap) = base_strdup(fact);
	seq = ++j->appended;
	pthread_cond_signal(&j->more);
	pthread_mutex_unlock(&j->lock);
	return seq;
}

uint64_t journal_durable(struct journal *j)
{
	uint64_t durable;

	pthread_mutex_lock(&j->lock);
	durable = j->durable;
	pthread_mutex_unlock(&j->lock);
	return durable;
}

static void on_closed(uv_handle_t *handle)
{
	struct journal *j = handle->data;

	for (size_t i = 0; i < j->count; i++)
		free(j->queue[i]);
	free(j->queue);
	free(j->trouble);
	free(j->path);
	free(j->job);
	free(j->graph_name);
	free(j->graph_file);
	pthread_mutex_destroy(&j->lock);
	pthread_cond_destroy(&j->more);
	free(j);
}

void journal_destroy(struct journal **journal)
{
	struct journal *j = *journal;

	if (!j)
		return;
	pthread_mutex_lock(&j->lock);
	j->stopping = true;
	pthread_cond_signal(&j->more);
	pthread_mutex_unlock(&j->lock);
	pthread_join(j->thread, NULL);
	uv_close((uv_handle_t *)&j->wake, on_closed);
	*journal = NULL;
}
