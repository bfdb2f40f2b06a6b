/* SPDX-License-Identifier: ISC */
/*
 * How long smtpd and authd wait where a client logs in.
 */
#ifndef SMTPD_LOGIN_TIME_H
#define SMTPD_LOGIN_TIME_H

/* What smtpd gives authd; then the client is told 454. */
#define LOGIN_ANSWER_MS 20000

/*
 * What authd lets a login stand in line: one that waited in vain is told so by
 * authd itself, and the last one to begin has some seconds left for its hash.
 */
#define LOGIN_LINE_WAIT_MS (LOGIN_ANSWER_MS - 8000)

#endif
