/* SPDX-License-Identifier: ISC */
/*
 * A MIME body in the form that survives every relay: CR LF, 7bit, no blanks at
 * line ends, no "From " at a beginning, no line over 998 octets (RFC 8551
 * §3.1, RFC 3156 §3 and §5).  Only then is it signed.
 *
 * What has that form already stays octet by octet.  A leaf that has not gets
 * another transfer encoding; its decoded content is the same.  Never touched:
 * what is within multipart/signed, multipart/encrypted, application/pkcs7-mime
 * and messages with a DKIM-Signature, as that would break what others signed.
 *
 * Two passes over the content, memory by the number of parts.
 */
#ifndef SIGNER_CANON_H
#define SIGNER_CANON_H

#include "signer/content.h"
#include "signer/legacy_display.h"
#include "signer/sink.h"

/* Places in one message where something is replaced. */
#define CANON_EDITS_MAX 65536

struct canon;

/*
 * Reads the structure of a message or entity and finds what has to change.
 * The content is read again by canon_write_body(): it must stay.  -1 when it
 * cannot be read.  What has more than MIME_PARTS_MAX parts, or would change in
 * more than CANON_EDITS_MAX places, stays as it is and is not 7bit.
 */
int canon_new(
    const struct content *content, struct canon **canon_r, struct err *err);
void canon_free(struct canon *canon);

/*
 * The same, and the main texts of the message show the Subject (UTF-8) that is
 * hidden outside (legacy_display.h).  It must stay, too.
 */
int canon_new_displaying(const struct content *content, struct slice subject,
    struct canon **canon_r, struct err *err);

/* How the root shows it, as its Content-Type has to say; NULL: it does not. */
const struct legacy_display *canon_root_display(const struct canon *canon);

/*
 * The root's Content-Transfer-Encoding after the change, or NULL when its own
 * field stays (which may be none).
 */
const char *canon_root_encoding(const struct canon *canon);

/* The charset that a root without Content-Type needs: "us-ascii", "utf-8". */
const char *canon_root_charset(const struct canon *canon);

/*
 * False: octets over 127 or long lines stay, within what must not be touched.
 * Such an entity may only travel inside base64: opaque, or encrypted.
 */
bool canon_is_7bit(const struct canon *canon);

/* Nothing has to change. */
bool canon_is_untouched(const struct canon *canon);

/* The body of the root. */
int canon_write_body(
    const struct canon *canon, const struct sink *sink, struct err *err);

#endif
