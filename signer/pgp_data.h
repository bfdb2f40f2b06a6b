/* SPDX-License-Identifier: ISC */
/*
 * Contents as GPGME reads and writes them.
 */
#ifndef SIGNER_PGP_DATA_H
#define SIGNER_PGP_DATA_H

#include <gpgme.h>

#include "signer/content.h"

/* Octets [start, end) of a content; must stay where it is. */
struct pgp_source {
	struct gpgme_data_cbs callbacks;
	const struct content *content;
	uint64_t start;
	uint64_t end;
	uint64_t at;
	gpgme_data_t data;
};

int pgp_source_open(
    struct pgp_source *source, const struct content *content, struct err *err);
int pgp_source_open_range(struct pgp_source *source,
    const struct content *content, uint64_t start, uint64_t end,
    struct err *err);
void pgp_source_close(struct pgp_source *source);

/*
 * Where GnuPG's output goes.  When the writer is full the operation fails,
 * and gpg ends for its pipe is closed: so much for bombs.
 */
struct pgp_drain {
	struct gpgme_data_cbs callbacks;
	struct content_writer *writer;
	bool ends_lines; /* LF becomes CR LF: armor by gpg */
	gpgme_data_t data;
};

int pgp_drain_open(struct pgp_drain *drain, struct content_writer *writer,
    bool ends_lines, struct err *err);
void pgp_drain_close(struct pgp_drain *drain);

#endif
