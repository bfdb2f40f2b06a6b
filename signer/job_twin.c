/* SPDX-License-Identifier: ISC */
/*
 * Finds outputs that are the same.
 * Runs in: postern-signerd's broker.  Trusts: nobody's word; it reads what
 * queued will get.
 */
#include <string.h>

#include <openssl/evp.h>

#include "signer/job_twin.h"

#define READ_OCTETS 65536

static int
add_content(EVP_MD_CTX *digest, const struct content *content)
{
	char piece[READ_OCTETS];
	uint64_t at = 0;

	while (at < content->size) {
		const ssize_t n =
		    content_read(content, at, piece, sizeof(piece));

		if (n <= 0 || EVP_DigestUpdate(digest, piece, (size_t)n) != 1)
			return -1;
		at += (uint64_t)n;
	}
	return 0;
}

int
track_print(struct track *track, const struct task_result *result)
{
	struct content content = content_of(result->content);
	EVP_MD_CTX *digest;
	int rc = -1;

	track->has_print = false;
	if (result->fd != -1 &&
	    content_of_file(result->fd, &content, NULL) == -1)
		return -1;
	digest = EVP_MD_CTX_new();
	if (digest != NULL &&
	    EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
	    add_content(digest, &content) == 0 &&
	    EVP_DigestFinal_ex(digest, track->print, NULL) == 1)
		rc = 0;
	EVP_MD_CTX_free(digest);
	track->has_print = rc == 0;
	track->print_octets = content.size;
	return rc;
}

/* Then it is told truly of both, too. */
static bool
is_twin(const struct track *a, const struct track *b)
{
	return a->has_print && b->has_print &&
	       a->print_octets == b->print_octets && a->follows == b->follows &&
	       memcmp(a->print, b->print, sizeof(a->print)) == 0 &&
	       a->outcome == b->outcome && a->applied == b->applied &&
	       strcmp(a->method_text, b->method_text) == 0;
}

const struct track *
track_twin(const struct track *track)
{
	const struct job *job = track->job;

	for (size_t i = 0; i < job->track_count; i++)
		if (&job->tracks[i] != track && job->tracks[i].number != 0 &&
		    is_twin(&job->tracks[i], track))
			return &job->tracks[i];
	return NULL;
}

bool
track_has_room(const struct track *track, uint64_t octets)
{
	const struct job *job = track->job;
	uint64_t held = 0;

	if (job->direction != DIRECTION_IN)
		return true;
	for (size_t i = 0; i < job->track_count; i++) {
		const struct track *other = &job->tracks[i];

		if (other != track)
			held += other->sent_octets +
				(other->has_content ? other->size : 0);
	}
	return held == 0 ||
	       (held <= HELD_OCTETS_MAX && octets <= HELD_OCTETS_MAX - held);
}
