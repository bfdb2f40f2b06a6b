/* SPDX-License-Identifier: ISC */
/*
 * What every parser of outside input answers.
 */
#ifndef COMMON_PARSE_H
#define COMMON_PARSE_H

enum parse_result {
	PARSE_OK,   /* complete and right: the outputs are filled */
	PARSE_MORE, /* right so far: feed the next bytes */
	PARSE_BAD,  /* cannot become right any more; no output is filled */
};

#endif
