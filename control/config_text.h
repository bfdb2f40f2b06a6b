/* SPDX-License-Identifier: ISC */
/*
 * The configuration as a text file, one item a line, always in the same order:
 * fit for git, and what "postern config export" and "apply" speak.  Pure.
 */
#ifndef CONTROL_CONFIG_TEXT_H
#define CONTROL_CONFIG_TEXT_H

#include "control/config_items.h"

/* A file larger than this is refused. */
#define CONFIG_TEXT_MAX (3u * 1024 * 1024)

/* Passwords of routes only with_secrets. */
void config_text_write(
    const struct config_items *items, bool with_secrets, struct buf *text_r);

/* One item as its line; value NULL gives what takes it away ("unset ..."). */
void config_text_line(enum config_kind kind, const char *key, const char *value,
    bool with_secrets, struct buf *line_r);

/*
 * Reads such a text; items_r holds exactly what it says.  A route with a user
 * and without a password keeps the password that it has in `current`.  -1: err
 * says what is wrong in line *line_r.
 */
int config_text_read(struct slice text, const struct config_items *current,
    struct config_items *items_r, unsigned *line_r, struct err *err);

#endif
