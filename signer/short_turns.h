/* SPDX-License-Identifier: ISC */
/*
 * How soon a process that others wait for gets a processor.
 */
#ifndef SIGNER_SHORT_TURNS_H
#define SIGNER_SHORT_TURNS_H

/*
 * Asks for short turns instead of the usual ones, of no more time in all:
 * whoever wants little at once is let in at once, by Linux from 6.12 on.
 * Before the process is confined; where it is not to be had nothing happens.
 */
void short_turns(void);

#endif
