/* SPDX-License-Identifier: ISC */
/*
 * The rows of the alert table.
 * Runs in: every program.  Trusts: nothing; a number of no alert has no row.
 */
#include <stddef.h>

#include "common/alerts.h"

#define ALERT_ROW(suffix, name, severity, advice) \
	[ALERT_##suffix] = {name, severity, advice},
static const struct alert_row rows[ALERT_COUNT] = {ALERTS(ALERT_ROW)};
#undef ALERT_ROW

const struct alert_row *
alert_row(unsigned alert)
{
	return alert < ALERT_COUNT ? &rows[alert] : NULL;
}
