/* SPDX-License-Identifier: ISC */
/*
 * What tests of messages at the signer do again and again.
 */
#ifndef TESTS_UNIT_SIGNER_SCENES_H
#define TESTS_UNIT_SIGNER_SCENES_H

#include "relay/dispatch.h"
#include "tests/unit/signer_world.h"

#define MAIL                                                         \
	"From: a@ours.test\r\nSubject: [secure] x\r\nContent-Type: " \
	"text/plain\r\n\r\nHello\r\n"
#define SEALED                                                        \
	"From: a@ours.test\r\nContent-Type: application/pkcs7-mime; " \
	"smime-type=enveloped-data\r\n\r\nMIIB\r\n"
#define SIGNED                                                  \
	"From: a@ours.test\r\nContent-Type: multipart/signed; " \
	"boundary=b\r\n\r\n--b\r\n"
#define MUST_ENCRYPT "* * encrypt required"
#define FIELD "DKIM-Signature: v=1\r\n"

extern const char *const scene_one[1];
extern const char *const scene_two[2];
/* For one recipient: it was encrypted, or signed with DKIM. */
extern const struct signer_says scene_sealed[1];
extern const struct signer_says scene_stamped[1];

/* The rules of policy; the signer is there. */
void scene_start(struct signer_world *world, const char *rules);

/* Until the signer is asked, or the client has his answer. */
void scene_submit_one(struct signer_world *world, const char *content);

void scene_wait_answer(struct signer_world *world);

/* Rows of a table, and messages of which somebody waits. */
int64_t scene_rows(struct signer_world *world, const char *table);
int64_t scene_waits(struct signer_world *world);

/* The next delivery, as relayd would get it. */
struct delivery *scene_next_delivery(struct signer_world *world);

/* The next delivery is this output; NULL: there is none. */
void scene_is_leaving(
    struct signer_world *world, const char *want, const char *label);

/* All that waits is due now. */
void scene_make_due(struct signer_world *world);
void scene_make_due_and_wait(struct signer_world *world);

/* Looks for what is due, as the queue does each second. */
bool scene_has_tried(struct signer_world *world, unsigned jobs);

/* Of the queue; the signer is not there then. */
void scene_restart(struct signer_world *world);

#endif
