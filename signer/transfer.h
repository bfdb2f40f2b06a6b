/* SPDX-License-Identifier: ISC */
/*
 * Transfer encodings of MIME leaves (RFC 2045 §6.7, §6.8), from a range of a
 * content to a sink, in pieces: encoding, and encoding anew what was encoded
 * in a form that no relay keeps.
 */
#ifndef SIGNER_TRANSFER_H
#define SIGNER_TRANSFER_H

#include "common/mime.h"
#include "signer/content.h"
#include "signer/sink.h"

/*
 * Octets as quoted-printable: CR LF stays a line end, all else that is not
 * printable ASCII is encoded, blanks at line ends and the F of a "From " at a
 * line's beginning too.
 */
int transfer_encode_qp(const struct sink *sink, const struct content *content,
    uint64_t start, uint64_t end, struct err *err);

int transfer_encode_base64(const struct sink *sink,
    const struct content *content, uint64_t start, uint64_t end,
    struct err *err);

/*
 * Decodes: quoted-printable and base64 tolerantly, as mail programs do, any
 * other encoding as it is.
 */
int transfer_decode(const struct sink *sink, enum mime_encoding encoding,
    const struct content *content, uint64_t start, uint64_t end,
    struct err *err);

/*
 * What is encoded so already, but with octets that do not belong there:
 * decoded and encoded in the same way again.
 */
int transfer_renew(const struct sink *sink, enum mime_encoding encoding,
    const struct content *content, uint64_t start, uint64_t end,
    struct err *err);

#endif
