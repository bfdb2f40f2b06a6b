/* SPDX-License-Identifier: ISC */
/*
 * All connections of a load run: who sends which mail when, and what came of
 * it.
 */
#ifndef TESTS_BENCH_LIB_FLEET_H
#define TESTS_BENCH_LIB_FLEET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/bench/lib_client.h"
#include "tests/bench/lib_count.h"
#include "tests/bench/lib_plan.h"

struct fleet_counts {
	uint64_t accepted;
	uint64_t refused; /* 4xx or 5xx */
	uint64_t failed;  /* no final answer */
	uint64_t connections;
	uint64_t failed_connections; /* not even a login was possible */
	uint64_t resumed_sessions;
	uint64_t recipients_accepted;
};

struct fleet {
	/* Set before fleet_run(): */
	struct plan *plan;
	struct sockaddr_in target;
	uint32_t connections;
	uint32_t per_connection;
	uint64_t messages; /* UINT64_MAX: until the duration is over */
	double rate;       /* mails a second; 0: as fast as possible */
	bool is_keeping_going;
	bool is_holding; /* connect and log in, send nothing */
	uint64_t timeout_us;
	uint64_t duration_us; /* 0: no end but that of the messages */
	uint32_t sources;     /* client addresses; 0: the system's choice */
	FILE *record;         /* or NULL */

	/* Results: */
	struct fleet_counts counts;
	struct latencies dot;
	struct latencies whole;
	uint64_t start_us;
	uint64_t end_us; /* of the last mail */
	double cpu_s;

	/* The run's own: */
	struct client *clients;
	struct client_list idle;    /* not connected */
	struct client_list busy;    /* awaits a reply */
	struct client_list ready;   /* connected, waits for a mail */
	struct client_list waiting; /* has a mail, will connect again */
	int epoll_fd;
	int timer_fd;
	int signal_fd;
	uint64_t next_number;
	uint64_t open_jobs;
	uint64_t next_source;
	uint64_t next_account;
	uint64_t epoch_offset_us; /* monotonic to epoch */
	uint64_t checked_us;
	uint32_t ready_count;
	bool is_stopping;
};

/* Until all is sent, the duration is over, or SIGINT or SIGTERM comes. */
void fleet_run(struct fleet *f);

void fleet_clear(struct fleet *f);

#endif
