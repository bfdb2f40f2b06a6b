/* SPDX-License-Identifier: ISC */
/*
 * What the two passes of canon.h find: the parts of a message and where they
 * lie, and the places that have to change.  For canon*.c alone.
 */
#ifndef SIGNER_CANON_PARTS_H
#define SIGNER_CANON_PARTS_H

#include "common/mime.h"
#include "signer/canon.h"

enum canon_edit_kind {
	CANON_EDIT_CUT,
	CANON_EDIT_ENCODING, /* the field Content-Transfer-Encoding */
	CANON_EDIT_QP,       /* a leaf, to be encoded */
	CANON_EDIT_BASE64,
	CANON_EDIT_RENEW_QP, /* a leaf that is encoded, but badly */
	CANON_EDIT_RENEW_BASE64,
	CANON_EDIT_TYPE,    /* the field Content-Type, of a text that ... */
	CANON_EDIT_DISPLAY, /* ... shows a Subject */
};

struct canon_edit {
	uint64_t start;
	uint64_t end;
	enum canon_edit_kind kind;
	enum mime_encoding encoding; /* of ..._ENCODING, ..._DISPLAY */
	bool adds_blank_line;        /* the header had none */
	uint32_t part;               /* of ..._TYPE, ..._DISPLAY */
};

struct canon_part {
	uint64_t start;
	uint64_t body_start;
	uint64_t body_end;
	uint64_t header_end;  /* behind the last field */
	uint64_t field_start; /* of Content-Transfer-Encoding; equal: none */
	uint64_t field_end;
	uint64_t gap_start; /* behind the last child so far */
	uint32_t parent;
	uint32_t child_count;
	enum mime_kind kind;
	enum mime_encoding encoding;
	bool is_root;
	bool is_open;      /* a container that was walked */
	bool is_protected; /* others signed it */
	bool is_text;
	bool is_fixed; /* message/..., two types: not to be encoded */
	bool has_type;
	bool has_blank_line;
	/* A main text: the first of a mixed, all of an alternative. */
	bool is_main;
	bool is_alternative;
	bool has_first; /* the first child began */
	bool displays;  /* the Subject */
	struct legacy_display display;
	char *type; /* Content-Type then, but for the root */
	uint64_t type_start;
	uint64_t type_end;
};

struct canon {
	struct content content;
	struct canon_part *parts;
	size_t part_count;
	size_t part_capacity;
	struct canon_edit *edits;
	size_t edit_count;
	size_t edit_capacity;
	bool is_full; /* more parts or edits than allowed: nothing changes */
	bool is_7bit;
	const char *root_encoding;
	const char *root_charset;
	struct slice subject; /* to be displayed; empty: none */
	unsigned displays;    /* parts that do */
};

/*
 * Notes that [start, end) changes; the caller adds what the kind needs.  Where
 * there are CANON_EDITS_MAX, the message is full and gets the last one again.
 */
struct canon_edit *canon_add_edit(
    struct canon *c, uint64_t start, uint64_t end, enum canon_edit_kind kind);

/* Pass one: the parts, and what changes in their headers. */
int canon_walk(struct canon *c, struct err *err);

/* Pass two: what changes in the leaves and between them. */
int canon_body_look(struct canon *c, struct err *err);

/* The fields of containers whose leaves are 7bit after that. */
void canon_body_relabel(struct canon *c);

/* The decoded text of a leaf, at most what the buffer takes. */
int canon_body_load(const struct canon *c, const struct canon_part *p,
    struct buf *text, struct err *err);

#endif
