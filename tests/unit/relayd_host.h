/* SPDX-License-Identifier: ISC */
/*
 * postern-relayd as it runs, below a root of its own: confd, queued, checkd
 * and authd are played over the channels, and relay_world.c is the rest of
 * the world.  Nothing waits for time; waits in vain end the test.
 */
#ifndef TESTS_UNIT_RELAYD_HOST_H
#define TESTS_UNIT_RELAYD_HOST_H

#include <sys/types.h>

#include "common/ipc.h"
#include "tests/unit/relay_world.h"

/* Of each mail. */
#define RELAYD_HOST_CONTENT "Subject: x\r\n\r\n.hello\r\n"

/* The latest result, with its texts kept. */
struct relayd_result {
	uint64_t job_id;
	char host[256];
	char address[64];
	char tls[256];
	bool is_host_down;
	bool is_dsn_passed;
	unsigned count;
	struct {
		uint64_t id;
		unsigned outcome, code;
		char enhanced[16];
		char reply[1025];
		char host[256]; /* "": that of the whole result */
	} results[4];
};

/* All there is of it; there is one. */
struct relayd_host {
	char root[64];
	pid_t pid;
	struct loop *loop;
	struct event *patience;
	struct world world;
	struct channel *confd;
	struct channel *queued;
	struct channel *authd;
	unsigned max_jobs; /* 0: as usual */
	bool is_narrow;    /* one connection each, kept for minutes */
	bool is_checkd_up;
	bool is_checkd_leaving; /* at its next question */
	bool is_checkd_lost;    /* so at each */
	unsigned ready_jobs;
	unsigned applied;
	bool was_queued_closed;
	struct relayd_result result;
	unsigned verdict;
	char callout_reply[1025];
	char facts[4096];
	uint64_t next_job;
};

extern struct relayd_host relayd_host;

/* Starts this build's postern-relayd, until it is connected. */
void relayd_host_start(void);
/* It has ended: its folder goes. */
void relayd_host_end(void);

/* Sends the settings and routes of that revision. */
void relayd_host_configure(uint64_t revision, bool may_be_local);

/* One turn of the loop, with its tasks. */
void relayd_host_turn(void);
/* From now on turns are made in the hope of something. */
void relayd_host_begin_waiting(void);

/* A job for these; its list is written into recipients. */
struct ipc_relay_job relayd_host_job(const char *domain,
    struct ipc_list_writer *recipients, const char *const *addresses,
    size_t count);
/* Until the result of the latest job is there. */
void relayd_host_wait(void);

/* Has a mail delivered, to "to" at the domain, or to that address of it. */
void relayd_host_deliver(const char *domain);
void relayd_host_deliver_to(const char *domain, const char *address);

#endif
