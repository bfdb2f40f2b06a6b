/* SPDX-License-Identifier: ISC */
/*
 * The supervisor's word to confd that a program ends again and again.
 */
#ifndef CONTROL_RUN_ALERT_H
#define CONTROL_RUN_ALERT_H

#include "common/loop.h"
#include "control/instance.h"

struct run_alert;

struct run_alert *run_alert_new(
    struct loop *loop, const struct instance *instance);
/* Says no more; the memory is freed when the loop is over. */
void run_alert_stop(struct run_alert *alerts);
void run_alert_free(struct run_alert *alerts);

/* end: how it ended.  Told to confd as soon as it is there. */
void run_alert_raise(struct run_alert *alerts, enum role role, const char *end);
void run_alert_clear(struct run_alert *alerts, enum role role);

#endif
