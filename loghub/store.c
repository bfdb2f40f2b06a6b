/* SPDX-License-Identifier: ISC */
/*
 * Stores events: batches of a turn, syncs in a thread of their own, what to
 * do when the disk is full, and telling in the log what the log lost.
 * Runs in: postern-loghub.  Trusts: the disk to keep what was synced.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/alerts.h"
#include "loghub/hub.h"

/* An alert about lost events goes when so long none was lost. */
#define QUIET_MS 600000

static const char *const loss_reasons[LOSS_COUNT] = {
	[LOSS_WAY] = "on their way from the writer",
	[LOSS_RATE] = "too many at once",
	[LOSS_REFUSED] = "malformed, or not for this writer to say",
	[LOSS_DISK] = "no space left for the log",
};

/* ---- syncs ---- */

static void
run_sync(struct pool_task *task)
{
	struct hub_sync *sync = (struct hub_sync *)task;

	segment_sync_run(&sync->sync);
}

static void begin_sync(struct hub *hub);

static void
sync_done(struct pool_task *task)
{
	struct hub_sync *sync = (struct hub_sync *)task;
	struct hub *hub = sync->hub;

	sync->is_running = false;
	hub->synced = sync->sync.at.number;
	intake_synced(hub);
	if (hub->expire_number != 0 && hub->synced >= hub->expire_number) {
		indexer_expire(hub->indexer, hub->expire_segment);
		hub->expire_number = 0;
	}
	if (hub->wait_count > 0)
		begin_sync(hub);
}

/* One at a time: what comes meanwhile goes with the next. */
static void
begin_sync(struct hub *hub)
{
	if (hub->sync.is_running ||
	    hub->synced >= hub->writer.written.number ||
	    !segment_sync_take(&hub->writer, &hub->sync.sync))
		return;
	hub->sync.is_running = true;
	pool_submit(hub->sync_pool, &hub->sync.task);
}

/* ---- the disk ---- */

static void
disk_is_full(struct hub *hub, const char *why)
{
	if (hub->is_disk_full)
		return;
	hub->is_disk_full = true;
	log_notice("the log stops: %s", why);
	daemon_alert_raise(hub->daemon, ALERT_LOG_GAP, "disk",
	    "%s; mail goes on, and what happens to it is not logged", why);
}

static void
disk_is_back(struct hub *hub)
{
	hub->is_disk_full = false;
	log_notice("the log goes on");
	daemon_alert_clear(hub->daemon, ALERT_LOG_GAP, "disk");
}

static void
check_space(struct hub *hub)
{
	const struct settings *settings = daemon_settings(hub->daemon);
	struct statvfs fs;
	uint64_t free_octets;
	char why[128];

	if (fstatvfs(hub->writer.dir_fd, &fs) == -1)
		return;
	free_octets = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_octets >= settings->log_min_free) {
		if (hub->is_disk_full)
			disk_is_back(hub);
		return;
	}
	(void)snprintf(why, sizeof(why),
	    "%llu MB are free, less than log.min_free",
	    (unsigned long long)(free_octets >> 20));
	disk_is_full(hub, why);
}

/* ---- storing ---- */

/* Events of a batch that failed were counted by the writer. */
static void
take_failures(struct hub *hub, const char *why)
{
	for (int i = 0; i < ROLE_COUNT; i++) {
		if (hub->writer.lost[i] == 0)
			continue;
		store_lost(hub, (enum role)i, LOSS_DISK, hub->writer.lost[i]);
		hub->writer.lost[i] = 0;
	}
	life_seen_reset(hub->seen);
	intake_failed(hub);
	disk_is_full(hub, why);
}

static void
flush_at_turn_end(void *arg)
{
	store_flush(arg);
}

int
store_event(struct hub *hub, enum role role, uint32_t life_number,
    struct slice event)
{
	struct err err;

	if (hub->is_disk_full) {
		store_lost(hub, role, LOSS_DISK, 1);
		return -1;
	}
	if (segment_append(&hub->writer, role, clock_wall_us(), life_number,
	        event, &err) == -1) {
		take_failures(hub, err.text);
		return -1;
	}
	hub->events++;
	hub->octets += event.n;
	loop_at_turn_end(hub->loop, &hub->flush);
	return 0;
}

void
store_own(struct hub *hub, enum event_type type, const void *fields)
{
	struct buf event;

	buf_init(&event, RECORD_MAX_SIZE - RECORD_MIN_SIZE);
	if (log_encode(&event, (struct log_context){0, 0}, clock_wall_us(),
	        type, fields) == 0)
		(void)store_event(
		    hub, ROLE_LOGHUB, 0, buf_slice(&event));
	buf_clear(&event);
}

int
store_expired(struct hub *hub, const struct event_log_expired *expired)
{
	struct buf event;
	struct err err;
	int rc = -1;

	buf_init(&event, RECORD_MAX_SIZE - RECORD_MIN_SIZE);
	if (log_encode(&event, (struct log_context){0, 0}, clock_wall_us(),
	        EV_LOG_EXPIRED, expired) == 0) {
		rc = segment_append(&hub->writer, ROLE_LOGHUB,
		    clock_wall_us(), 0, buf_slice(&event), &err);
		if (rc == 0)
			rc = segment_flush(&hub->writer, &err);
		if (rc == -1)
			take_failures(hub, err.text);
		else
			store_flush(hub);
	}
	buf_clear(&event);
	return rc;
}

void
store_flush(struct hub *hub)
{
	struct err err;

	if (segment_flush(&hub->writer, &err) == -1)
		take_failures(hub, err.text);
	else
		indexer_advance(hub->indexer, &hub->writer.written);
	if (hub->has_new_numbers) {
		writers_save(&hub->writers, hub->writers_fd);
		hub->has_new_numbers = false;
	}
	/* What came again is durable already: no sync will follow. */
	intake_synced(hub);
	if (hub->wait_count > 0)
		begin_sync(hub);
}

/* ---- losses ---- */

void
store_lost(struct hub *hub, enum role role, enum loss loss, uint64_t count)
{
	hub->lost[role][loss] += count;
	hub->untold[role][loss] += count;
}

static void
tell_loss(struct hub *hub, enum role role, enum loss loss)
{
	const struct event_log_lost lost = {
	    .program = slice_of(role_name(role)),
	    .count = hub->untold[role][loss],
	    .reason = slice_of(loss_reasons[loss]),
	};

	if (hub->untold[role][loss] == 0 || hub->is_disk_full)
		return;
	hub->untold[role][loss] = 0;
	store_own(hub, EV_LOG_LOST, &lost);
	daemon_alert_raise(hub->daemon, ALERT_LOG_GAP, role_name(role),
	    "%llu events of %s are not in the log: %s",
	    (unsigned long long)lost.count, role_name(role),
	    loss_reasons[loss]);
	hub->quiet_ms = clock_monotonic_ms();
}

static void
tell_losses(struct hub *hub)
{
	for (int i = 0; i < ROLE_COUNT; i++)
		for (int j = 0; j < LOSS_COUNT; j++)
			tell_loss(hub, (enum role)i, (enum loss)j);
	if (hub->quiet_ms == 0 ||
	    clock_monotonic_ms() < hub->quiet_ms + QUIET_MS)
		return;
	hub->quiet_ms = 0;
	for (int i = 0; i < ROLE_COUNT; i++)
		daemon_alert_clear(
		    hub->daemon, ALERT_LOG_GAP, role_name((enum role)i));
}

void
store_tick(struct hub *hub)
{
	check_space(hub);
	intake_tick(hub);
	tell_losses(hub);
	store_flush(hub);
	begin_sync(hub);
}

/* ---- start and stop ---- */

static void
see_record(void *arg, const struct record *record)
{
	struct hub *hub = arg;
	struct event_head head;
	union event_fields fields;
	uint32_t life_number;
	struct slice event;

	if (record->kind == RECORD_LIFE &&
	    record_event(record, &life_number, &event) == 0 &&
	    life_number != 0 && event_read(event, &head, &fields, NULL) == 0)
		(void)life_seen_add(hub->seen, head.message_id, life_number);
}

static void
tell_recovery(struct hub *hub, const struct segment_recovery *recovery)
{
	const struct event_log_cut cut = {
	    .segment = recovery->segment,
	    .after_number = recovery->after_number,
	    .octets = recovery->octets,
	    .reason = slice_of(segment_end_names[recovery->end]),
	};

	if (recovery->end == SEGMENT_END_WHOLE)
		return;
	log_notice("the log's end, segment %u after record %llu: %s",
	    recovery->segment, (unsigned long long)recovery->after_number,
	    segment_end_names[recovery->end]);
	store_own(hub, EV_LOG_CUT, &cut);
	if (recovery->end != SEGMENT_END_TORN)
		daemon_alert_raise(hub->daemon, ALERT_LOG_GAP, "tampering",
		    "segment %u after record %llu: %s", recovery->segment,
		    (unsigned long long)recovery->after_number,
		    segment_end_names[recovery->end]);
}

int
store_open(struct hub *hub, struct err *err)
{
	const char *state = daemon_state_dir(hub->daemon);
	struct segment_recovery recovery;
	char path[LOG_INDEX_PATH_SIZE];

	if (sql_lock_directory(state, err) == -1)
		return -1;
	hub->seen = life_seen_new();
	(void)snprintf(path, sizeof(path), "%s/segments", state);
	if (segment_writer_open(&hub->writer, path, see_record, hub,
	        &recovery, err) == -1)
		return -1;
	hub->synced = hub->writer.written.number;
	hub->writers_fd = openat(hub->writer.dir_fd, "writers",
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (hub->writers_fd == -1)
		return err_set(
		    err, "open %s/writers: %s", path, strerror(errno));
	writers_load(&hub->writers, hub->writers_fd);
	hub->flush =
	    (struct loop_task){.run = flush_at_turn_end, .arg = hub};
	hub->sync.hub = hub;
	hub->sync.task =
	    (struct pool_task){.run = run_sync, .done = sync_done};
	hub->sync_pool = pool_new(hub->loop, 1, "sync");
	hub->indexer = indexer_new(state, hub->writer.dir_fd);
	check_space(hub);
	tell_recovery(hub, &recovery);
	indexer_advance(hub->indexer, &hub->writer.written);
	return 0;
}

void
store_close(struct hub *hub)
{
	tell_losses(hub);
	store_flush(hub);
	begin_sync(hub);
	pool_free(hub->sync_pool);
	/* One may have run; what came meanwhile is synced here. */
	if (hub->synced < hub->writer.written.number &&
	    segment_sync_take(&hub->writer, &hub->sync.sync))
		segment_sync_run(&hub->sync.sync);
	indexer_free(hub->indexer);
	loop_task_cancel(hub->loop, &hub->flush);
	close_if_open(&hub->writers_fd);
	segment_writer_clear(&hub->writer);
	life_seen_free(hub->seen);
}
