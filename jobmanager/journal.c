/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of facts, and a thread that turns all that is in it into one transaction. Facts are lines, and a
 * row has as many of them as came together, since a row for each would cost more than all else that a short
 * vertex costs. A line that begins with a tab goes on with the fact before it.
 */
#include "journal.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x64616772 /* "dagr" */
#define SCHEMA_VERSION 5          /* facts of failures and of daemons that ended name their node */
#define ROW_BYTES (32u << 10)
#define RETRY_MS 1000
#define SPARE_MAX (4u << 20)
#define GATHER (100 * DAG_MS) /* for a row to be full, where nobody waits for it */
#define TABLE_JOB                                                                                            \
	"CREATE TABLE job(name TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID"
#define TABLE_FACTS "CREATE TABLE facts(seq INTEGER PRIMARY KEY, facts TEXT NOT NULL, sum INTEGER NOT NULL)"

struct journal {
	struct journal_config config;
	char *path;
	struct graph_pair *meta;
	uint64_t rows, sum; /* sum: of the last one */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct buffer queue, spare; /* lines; spare: empty, memory for the next ones */
	uint64_t appended, durable; /* facts */
	bool stopping, hurry;
	bool abandoned;       /* nobody is there who could be told anything */
	dag_instant patience; /* 0: any */
	char *trouble;        /* to be told; guarded by lock */
	bool trouble_new, trouble_final, trouble_over;
	uv_async_t wake;
	sqlite3 *db;
	int error; /* errno of the last write that failed, or 0 */
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
	if (!j->abandoned) /* under the lock: the handle goes when that is set */
		uv_async_send(&j->wake);
	pthread_mutex_unlock(&j->lock);
}

static int run_sql(struct journal *j, const char *sql)
{
	return sqlite3_exec(j->db, sql, NULL, NULL, NULL);
}

static int64_t meta_sum(const char *name, const char *value)
{
	char *text = base_format("%s=%s", name, value);
	int64_t sum = (int64_t)hash_128(text, strlen(text)).low;

	free(text);
	return sum;
}

/* Each row's sum covers the one before, so that none can be missing or changed unseen. */
static uint64_t row_sum(uint64_t before, const char *lines, size_t len)
{
	struct buffer text = {0};
	uint64_t sum;

	buffer_format(&text, "%016llx ", (unsigned long long)before);
	buffer_append(&text, lines, len);
	sum = hash_128(text.data, text.len).low;
	buffer_fini(&text);
	return sum;
}

/* ---- facts as lines ---- */

static void add_fact(struct buffer *lines, const char *fact)
{
	for (const char *end; (end = strchr(fact, '\n')); fact = end + 1) {
		buffer_append(lines, fact, (size_t)(end - fact));
		buffer_append(lines, "\n\t", 2);
	}
	buffer_append(lines, fact, strlen(fact));
	buffer_append(lines, "\n", 1);
}

/* The length of the facts at the front that fill a row; each ends with a newline that no tab follows. */
static size_t row_length(const char *lines, size_t len)
{
	size_t at = ROW_BYTES;

	if (len <= ROW_BYTES)
		return len;
	while (at < len && (lines[at - 1] != '\n' || lines[at] == '\t'))
		at++;
	return at;
}

static void split_facts(struct journal_saved *saved, const char *lines)
{
	struct buffer fact = {0};

	for (; *lines; lines++) {
		if (*lines != '\n' || lines[1] == '\t') {
			buffer_append(&fact, lines, 1);
			lines += *lines == '\n';
			continue;
		}
		*DAG_APPEND(saved->facts, saved->fact_count, saved->fact_cap) =
			base_strndup((const char *)fact.data, fact.len);
		fact.len = 0;
	}
	buffer_fini(&fact);
}

static int put_meta(sqlite3 *db, const struct graph_pair *meta, size_t n)
{
	sqlite3_stmt *stmt = NULL;
	int r = sqlite3_prepare_v2(
		db, "INSERT OR REPLACE INTO job(name, value, sum) VALUES(?, ?, ?)", -1, &stmt, NULL);

	for (size_t i = 0; i < n && r == SQLITE_OK; i++) {
		sqlite3_bind_text(stmt, 1, meta[i].name, -1, SQLITE_STATIC);
		sqlite3_bind_text(stmt, 2, meta[i].value, -1, SQLITE_STATIC);
		sqlite3_bind_int64(stmt, 3, meta_sum(meta[i].name, meta[i].value));
		r = sqlite3_step(stmt);
		r = r == SQLITE_DONE ? SQLITE_OK : r;
		sqlite3_reset(stmt);
	}
	sqlite3_finalize(stmt);
	return r;
}

static int open_database(struct journal *j)
{
	char *setup;
	int r = sqlite3_open_v2(j->path, &j->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
		NULL);

	if (r != SQLITE_OK)
		return r;
	setup = base_format("PRAGMA trusted_schema=OFF; PRAGMA page_size=16384; PRAGMA journal_mode=WAL; "
			    "PRAGMA synchronous=FULL; BEGIN;"
			    "PRAGMA application_id=%d; PRAGMA user_version=%d;" TABLE_JOB ";" TABLE_FACTS ";",
		APPLICATION_ID, SCHEMA_VERSION);
	if (j->config.existing) {
		free(setup);
		return run_sql(j, "PRAGMA trusted_schema=OFF; PRAGMA synchronous=FULL;");
	}
	r = run_sql(j, setup);
	free(setup);
	if (r == SQLITE_OK)
		r = put_meta(j->db, j->meta, j->config.meta_count);
	return r == SQLITE_OK ? run_sql(j, "COMMIT") : r;
}

static int write_group(struct journal *j, const struct buffer *lines)
{
	sqlite3_stmt *stmt = NULL;
	uint64_t sum = j->sum, rows = j->rows;
	int r = run_sql(j, "BEGIN");

	if (r == SQLITE_OK)
		r = sqlite3_prepare_v2(
			j->db, "INSERT INTO facts(seq, facts, sum) VALUES(?, ?, ?)", -1, &stmt, NULL);
	for (size_t at = 0; at < lines->len && r == SQLITE_OK;) {
		const char *row = (const char *)lines->data + at;
		size_t len = row_length(row, lines->len - at);

		sum = row_sum(sum, row, len);
		sqlite3_bind_int64(stmt, 1, (sqlite3_int64)++rows);
		sqlite3_bind_text(stmt, 2, row, (int)len, SQLITE_STATIC);
		sqlite3_bind_int64(stmt, 3, (sqlite3_int64)sum);
		r = sqlite3_step(stmt);
		r = r == SQLITE_DONE ? SQLITE_OK : r;
		sqlite3_reset(stmt);
		at += len;
	}
	sqlite3_finalize(stmt);
	if (r == SQLITE_OK)
		r = run_sql(j, "COMMIT");
	if (r == SQLITE_OK) {
		j->sum = sum;
		j->rows = rows;
	}
	j->error = r == SQLITE_OK ? 0 : sqlite3_system_errno(j->db);
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
	char why[OS_FILE_ERROR_LEN], *text;
	bool final = r != SQLITE_FULL && r != SQLITE_BUSY;

	text = base_format("the journal %s cannot be written: %s%s", j->path,
		j->error ? os_file_error(j->error, why) : sqlite3_errstr(r),
		final ? "" : "; the job is paused until there is room");
	tell_trouble(j, text, final);
	free(text);
	for (int ms = 0; !final && ms < RETRY_MS && !is_stopping(j); ms += 50)
		usleep(50000);
	return !final && !is_stopping(j);
}

/* More facts come together meanwhile; the caller holds the lock. */
static void gather(struct journal *j, dag_instant until)
{
	struct timespec at = {until / DAG_SECOND, until % DAG_SECOND};

	while (!j->stopping && !j->hurry && j->queue.len < ROW_BYTES && os_now() < until)
		pthread_cond_timedwait(&j->more, &j->lock, &at);
}

static void *run_journal(void *arg)
{
	struct journal *j = arg;
	int r;

	while ((r = open_database(j)) != SQLITE_OK) {
		j->error = sqlite3_system_errno(j->db);
		sqlite3_close(j->db);
		if (!wait_for_room(j, r))
			return NULL;
	}
	for (dag_instant written = 0;; written = os_now()) {
		struct buffer lines;
		uint64_t last;

		pthread_mutex_lock(&j->lock);
		while (!j->queue.len && !j->stopping)
			pthread_cond_wait(&j->more, &j->lock);
		gather(j, written + GATHER);
		j->hurry = false;
		lines = j->queue;
		last = j->appended;
		j->queue = j->spare;
		j->spare = (struct buffer){0};
		pthread_mutex_unlock(&j->lock);
		if (!lines.len) {
			buffer_fini(&lines);
			break;
		}
		while ((r = write_group(j, &lines)) != SQLITE_OK)
			if (!wait_for_room(j, r))
				break;
		if (r != SQLITE_OK || lines.cap > SPARE_MAX)
			buffer_fini(&lines);
		if (r != SQLITE_OK)
			break;
		pthread_mutex_lock(&j->lock);
		lines.len = 0;
		j->spare = lines;
		j->durable = last;
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

static void on_closed(uv_handle_t *handle)
{
	struct journal *j = handle->data;

	buffer_fini(&j->queue);
	buffer_fini(&j->spare);
	free(j->trouble);
	free(j->path);
	for (size_t i = 0; i < j->config.meta_count; i++) {
		free((char *)j->meta[i].name);
		free((char *)j->meta[i].value);
	}
	free(j->meta);
	pthread_mutex_destroy(&j->lock);
	pthread_cond_destroy(&j->more);
	free(j);
}

int journal_new(uv_loop_t *loop, const struct journal_config *config, struct journal **ret_journal,
	struct dag_diag *diag)
{
	pthread_condattr_t clock;
	struct journal *j;
	int r;

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
	j->meta = base_alloc((config->meta_count + 1) * sizeof(*j->meta));
	for (size_t i = 0; i < config->meta_count; i++)
		j->meta[i] = (struct graph_pair){
			base_strdup(config->meta[i].name), base_strdup(config->meta[i].value)};
	j->appended = j->durable = config->first;
	j->rows = config->first_row;
	j->sum = config->first_sum;
	pthread_mutex_init(&j->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&j->more, &clock);
	pthread_condattr_destroy(&clock);
	uv_async_init(loop, &j->wake, on_wake);
	j->wake.data = j;
	r = pthread_create(&j->thread, NULL, run_journal, j);
	if (r) {
		dag_diag_add(diag, NULL, 0, 0, "cannot start the journal's thread: %s", strerror(r));
		uv_close((uv_handle_t *)&j->wake, on_closed);
		return DAG_EIO;
	}
	*ret_journal = j;
	return 0;
}

uint64_t journal_append(struct journal *j, const char *const *facts, size_t n)
{
	uint64_t seq;
	size_t before;

	pthread_mutex_lock(&j->lock);
	before = j->queue.len;
	for (size_t i = 0; i < n; i++)
		add_fact(&j->queue, facts[i]);
	seq = j->appended += n;
	if (!before || (before < ROW_BYTES && j->queue.len >= ROW_BYTES))
		pthread_cond_signal(&j->more);
	pthread_mutex_unlock(&j->lock);
	return seq;
}

void journal_hurry(struct journal *j)
{
	pthread_mutex_lock(&j->lock);
	j->hurry = true;
	pthread_cond_signal(&j->more);
	pthread_mutex_unlock(&j->lock);
}

uint64_t journal_durable(struct journal *j)
{
	uint64_t durable;

	pthread_mutex_lock(&j->lock);
	durable = j->durable;
	pthread_mutex_unlock(&j->lock);
	return durable;
}

void journal_hasten(struct journal *j, dag_instant patience)
{
	j->patience = patience;
}

/* False where the thread is stuck in a write: then it is left, with its memory. */
static bool join(struct journal *j)
{
	struct timespec until;
	bool joined;

	if (!j->patience)
		return pthread_join(j->thread, NULL) == 0;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += j->patience / DAG_SECOND;
	joined = pthread_timedjoin_np(j->thread, NULL, &until) == 0;
	pthread_mutex_lock(&j->lock);
	j->abandoned = !joined;
	pthread_mutex_unlock(&j->lock);
	return joined;
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
	uv_close((uv_handle_t *)&j->wake, join(j) ? on_closed : NULL);
	*journal = NULL;
}

/* ---- of an earlier run ---- */

int journal_lock(const char *folder, bool patient, int *ret_fd)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), tries = patient ? 20 : 0;

	if (fd < 0)
		return DAG_EMISSING;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (!tries--) {
			close(fd);
			return DAG_EBUSY;
		}
		usleep(50000);
	}
	*ret_fd = fd;
	return 0;
}

static int64_t read_number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt;
	int64_t n = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
		n = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return n;
}

/* Nothing was written to it yet. */
static bool is_empty(sqlite3 *db)
{
	return read_number(db, "PRAGMA application_id") == 0 &&
	       read_number(db, "SELECT count(*) FROM sqlite_schema") == 0;
}

/* Only our two tables, word for word, and pages that are whole. NULL, or what is wrong. */
static const char *check_database(sqlite3 *db)
{
	sqlite3_stmt *stmt;
	const char *wrong = NULL;

	if (read_number(db, "PRAGMA application_id") != APPLICATION_ID)
		return "it is not a journal of dagrun";
	if (read_number(db, "PRAGMA user_version") != SCHEMA_VERSION)
		return "it was written by another version of dagrun";
	if (read_number(db, "SELECT count(*) FROM sqlite_schema WHERE sql IN ('" TABLE_JOB "', '" TABLE_FACTS
			    "')") != 2 ||
		read_number(db, "SELECT count(*) FROM sqlite_schema") != 2)
		return "its tables are not those of a journal";
	if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &stmt, NULL) != SQLITE_OK ||
		sqlite3_step(stmt) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(stmt, 0), "ok"))
		wrong = "its pages are damaged";
	sqlite3_finalize(stmt);
	return wrong;
}

static char *load_meta(sqlite3 *db, struct journal_saved *saved)
{
	sqlite3_stmt *stmt;
	char *wrong = NULL;
	int r = sqlite3_prepare_v2(db, "SELECT name, value, sum FROM job ORDER BY name", -1, &stmt, NULL);

	while (r == SQLITE_OK && !wrong && (r = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(stmt, 0),
			   *value = (const char *)sqlite3_column_text(stmt, 1);

		r = SQLITE_OK;
		if (!name || !value || meta_sum(name, value) != sqlite3_column_int64(stmt, 2)) {
			wrong = base_format("row '%s' of table job is damaged", name ? name : "?");
			break;
		}
		*DAG_APPEND(saved->meta, saved->meta_count, saved->meta_cap) =
			(struct graph_pair){base_strdup(name), base_strdup(value)};
		if (!strcmp(name, "epoch"))
			saved->epoch = (uint32_t)strtoul(value, NULL, 10);
	}
	if (!wrong && r != SQLITE_DONE)
		wrong = base_format("table job cannot be read: %s", sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
	return wrong ? wrong : saved->epoch ? NULL : base_strdup("table job has no epoch");
}

/* All facts, or just those of the last row. */
static char *load_facts(sqlite3 *db, bool all, struct journal_saved *saved)
{
	sqlite3_stmt *stmt;
	char *wrong = NULL;
	int r = sqlite3_prepare_v2(db,
		all ? "SELECT seq, facts, sum FROM facts ORDER BY seq"
		    : "SELECT seq, facts, sum FROM facts ORDER BY seq DESC LIMIT 1",
		-1, &stmt, NULL);

	while (r == SQLITE_OK && !wrong && (r = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *lines = (const char *)sqlite3_column_text(stmt, 1);

		r = SQLITE_OK;
		saved->row_count++;
		saved->last_sum = lines && all ? row_sum(saved->last_sum, lines, strlen(lines)) : 0;
		if (all && (sqlite3_column_int64(stmt, 0) != (sqlite3_int64)saved->row_count || !lines ||
				   (uint64_t)sqlite3_column_int64(stmt, 2) != saved->last_sum))
			wrong = base_format("row %llu of table facts is damaged or missing",
				(unsigned long long)saved->row_count);
		else
			split_facts(saved, lines ? lines : "");
	}
	if (!wrong && r != SQLITE_DONE)
		wrong = base_format("table facts cannot be read after row %llu: %s",
			(unsigned long long)saved->row_count, sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
	return wrong;
}

int journal_load(const char *folder, bool with_facts, struct journal_saved *ret, struct dag_diag *diag)
{
	char *path = base_format("%s/journal.db", folder), *wrong = NULL;
	const char *plain;
	sqlite3 *db = NULL;
	struct stat st;
	int r = 0;

	*ret = (struct journal_saved){0};
	if (stat(path, &st) < 0) {
		free(path);
		return DAG_EMISSING;
	}
	/* Not read-only: what the write-ahead log holds is a part of it. */
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
		    NULL) != SQLITE_OK ||
		sqlite3_exec(db, "PRAGMA trusted_schema=OFF", NULL, NULL, NULL) != SQLITE_OK)
		wrong = base_format("it cannot be opened: %s", sqlite3_errmsg(db));
	sqlite3_busy_timeout(db, 2000);
	if (!wrong && is_empty(db)) {
		sqlite3_close(db);
		free(path);
		return DAG_EMISSING;
	}
	plain = wrong ? NULL : check_database(db);
	if (plain)
		wrong = base_strdup(plain);
	if (!wrong)
		wrong = load_meta(db, ret);
	if (!wrong)
		wrong = load_facts(db, with_facts, ret);
	if (wrong) {
		dag_diag_add(diag, NULL, 0, 0, "the journal %s is refused: %s", path, wrong);
		journal_saved_fini(ret);
		r = DAG_ECORRUPT;
	}
	sqlite3_close(db);
	free(wrong);
	free(path);
	return r;
}

void journal_saved_fini(struct journal_saved *saved)
{
	for (size_t i = 0; i < saved->meta_count; i++) {
		free((char *)saved->meta[i].name);
		free((char *)saved->meta[i].value);
	}
	for (size_t i = 0; i < saved->fact_count; i++)
		free(saved->facts[i]);
	free(saved->meta);
	free(saved->facts);
	*saved = (struct journal_saved){0};
}

const char *journal_meta(const struct journal_saved *saved, const char *name)
{
	for (size_t i = 0; i < saved->meta_count; i++)
		if (!strcmp(saved->meta[i].name, name))
			return saved->meta[i].value;
	return NULL;
}

const char *journal_last(const struct journal_saved *saved)
{
	return saved->fact_count ? saved->facts[saved->fact_count - 1] : "";
}

int journal_set_epoch(const char *folder, uint32_t epoch, struct dag_diag *diag)
{
	char *path = base_format("%s/journal.db", folder), text[16];
	sqlite3 *db = NULL;
	int r = sqlite3_open_v2(
		path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);

	snprintf(text, sizeof(text), "%u", epoch);
	if (r == SQLITE_OK)
		r = sqlite3_exec(db, "PRAGMA synchronous=FULL", NULL, NULL, NULL);
	if (r == SQLITE_OK)
		r = put_meta(db, &(struct graph_pair){"epoch", text}, 1);
	sqlite3_close(db);
	if (r != SQLITE_OK)
		dag_diag_add(diag, NULL, 0, 0, "cannot write the journal %s: %s", path, sqlite3_errstr(r));
	free(path);
	return r == SQLITE_OK ? 0 : DAG_EIO;
}
