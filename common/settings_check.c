/* SPDX-License-Identifier: ISC */
/*
 * Relations between settings: what each row alone cannot say.  Only what
 * contradicts itself or opens the gateway to the world is refused; a limit
 * that merely never bites is an administrator's own business.
 * Runs in: postern-confd.  Trusts: that each value was parsed.
 */
#include <stddef.h>
#include <string.h>

#include "common/settings.h"

/* The first must not be above the second. */
struct order {
	enum setting_index smaller;
	enum setting_index larger;
};

static const struct order orders[] = {
    {SET_smtp_max_header_size, SET_smtp_max_message_size},
    {SET_smtp_max_header_size, SET_smtp_worker_memory},
    {SET_smtp_client_connections, SET_smtp_network_connections},
    {SET_smtp_network_connections, SET_smtp_max_connections},
    {SET_smtp_client_rate, SET_smtp_network_rate},
    {SET_smtp_stressed_timeout, SET_smtp_command_timeout},
    {SET_relay_connections, SET_relay_max_jobs},
    {SET_queue_bounce_lifetime, SET_queue_lifetime},
};

static uint64_t
number_of(const struct settings *settings, enum setting_index index)
{
	const struct setting_row *row = setting_row(index);

	return *(const uint64_t *)(const void *)((const char *)settings +
						 row->offset);
}

static int
check_orders(const struct settings *settings, struct err *err)
{
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		const struct order *order = &orders[i];
		uint64_t smaller = number_of(settings, order->smaller);
		uint64_t larger = number_of(settings, order->larger);
		const struct setting_row *row = setting_row(order->smaller);
		struct buf texts[2];

		if (smaller <= larger)
			continue;
		buf_init(&texts[0], ERR_TEXT_MAX);
		buf_init(&texts[1], ERR_TEXT_MAX);
		setting_format_number(row->kind, smaller, &texts[0]);
		setting_format_number(row->kind, larger, &texts[1]);
		(void)err_set(err,
		    "%s (%s) is more than %s (%s): lower the first or raise "
		    "the second",
		    row->name, buf_text(&texts[0]),
		    setting_row(order->larger)->name, buf_text(&texts[1]));
		buf_clear(&texts[0]);
		buf_clear(&texts[1]);
		return -1;
	}
	return 0;
}

static int
check_retry(const struct settings *settings, struct err *err)
{
	struct slice list = slice_of(settings->queue_retry);
	struct slice word;
	uint64_t seconds;

	while (setting_list_next(&list, &word))
		if (setting_seconds(word, &seconds) == 0 &&
		    seconds > settings->queue_retry_max)
			return err_set(err,
			    "queue.retry has %.*s, which is more than "
			    "queue.retry_max: lower the first or raise the "
			    "second",
			    SLICE_ARG(word));
	return 0;
}

/*
 * Whoever is in smtp.trusted_networks may relay to anywhere.  No site has
 * networks as large as these; who writes them wants "everybody" and would get
 * an open relay.
 */
#define TRUSTED_BITS_MIN_IPV4 8
#define TRUSTED_BITS_MIN_IPV6 7 /* fc00::/7 is the largest private one */

static int
check_trusted_networks(const struct settings *settings, struct err *err)
{
	struct slice list = slice_of(settings->smtp_trusted_networks);
	struct netprefix prefix;
	struct slice word;

	while (setting_list_next(&list, &word)) {
		unsigned least;

		if (netprefix_parse(word, &prefix, NULL) == -1)
			continue;
		least = prefix.address.family == NETADDR_IPV4
			    ? TRUSTED_BITS_MIN_IPV4
			    : TRUSTED_BITS_MIN_IPV6;
		if (prefix.bits < least)
			return err_set(err,
			    "smtp.trusted_networks has %.*s: that would let "
			    "much of the internet relay through this host",
			    SLICE_ARG(word));
	}
	return 0;
}

/* ---- listeners ---- */

static const enum setting_index listener_lists[] = {SET_smtp_listen,
    SET_submission_listen, SET_submissions_listen};
#define LISTENER_LISTS (sizeof(listener_lists) / sizeof(listener_lists[0]))

static bool
listeners_clash(struct slice a, struct slice b)
{
	struct listen_address one;
	struct listen_address other;

	if (setting_listen_address(a, 0, &one) == -1 ||
	    setting_listen_address(b, 0, &other) == -1)
		return false;
	return one.port != 0 && one.port == other.port &&
	       (one.is_wildcard || other.is_wildcard ||
		   netaddr_equals(&one.address, &other.address));
}

static struct slice
list_of(const struct settings *settings, enum setting_index index)
{
	const void *member =
	    (const char *)settings + setting_row(index)->offset;

	return slice_of(*(char *const *)member);
}

/* What stands after the word in its own list, or in the other list. */
static int
check_listener(struct slice word, enum setting_index of, struct slice others,
    enum setting_index others_of, struct err *err)
{
	struct slice other;

	while (setting_list_next(&others, &other))
		if (listeners_clash(word, other))
			return err_set(err,
			    "%s has %.*s and %s has %.*s: both cannot be "
			    "opened",
			    setting_row(of)->name, SLICE_ARG(word),
			    setting_row(others_of)->name, SLICE_ARG(other));
	return 0;
}

static int
check_listeners(const struct settings *settings, struct err *err)
{
	for (size_t i = 0; i < LISTENER_LISTS; i++) {
		enum setting_index own = listener_lists[i];
		struct slice list = list_of(settings, own);
		struct slice word;

		while (setting_list_next(&list, &word)) {
			if (check_listener(word, own, list, own, err) == -1)
				return -1;
			for (size_t k = i + 1; k < LISTENER_LISTS; k++) {
				enum setting_index of = listener_lists[k];

				if (check_listener(word, own,
					list_of(settings, of), of, err) == -1)
					return -1;
			}
		}
	}
	return 0;
}

int
settings_check(const struct settings *settings, struct err *err)
{
	if (check_orders(settings, err) == -1 ||
	    check_retry(settings, err) == -1 ||
	    check_trusted_networks(settings, err) == -1 ||
	    check_listeners(settings, err) == -1)
		return -1;
	return 0;
}
