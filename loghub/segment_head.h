/* SPDX-License-Identifier: ISC */
/*
 * The file "head" beside the segments: where the synced log ended last.  It
 * shows at the next start that synced records are gone, which the chain alone
 * cannot show at its end.  It is written after each sync and not synced
 * itself: it never points past what is durable.
 */
#ifndef LOGHUB_SEGMENT_HEAD_H
#define LOGHUB_SEGMENT_HEAD_H

#include "loghub/segment_file.h"

#define SEGMENT_HEAD_FILE "head"

void segment_head_write(int fd, const struct segment_position *at);

/* Number 0 when there is none that can be read. */
void segment_head_read(int fd, struct segment_position *at_r);

#endif
