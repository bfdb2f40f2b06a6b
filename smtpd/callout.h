/* SPDX-License-Identifier: ISC */
/*
 * How long smtpd and authd wait for the inner server's word on a recipient.
 */
#ifndef SMTPD_CALLOUT_H
#define SMTPD_CALLOUT_H

/* What authd gives relayd and the inner server; a client waits in RCPT. */
#define CALLOUT_MS 20000

/*
 * What smtpd gives authd: that, and something for authd itself, which may be
 * busy or have just been started again.  No more: the client is told 451 and
 * comes again, and meanwhile the session waits for nothing.
 */
#define CALLOUT_ANSWER_MS (CALLOUT_MS + 10000)

#endif
