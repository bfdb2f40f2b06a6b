/* SPDX-License-Identifier: ISC */
/*
 * The table from status codes to plain words.
 * Runs in: postern-queued.  Trusts: nothing in the code, which a remote server
 * may have given.
 */
#include <string.h>

#include "relay/dsn_reason.h"

/* The first row that matches counts: the particular before the general. */
static const struct dsn_reason reasons[] = {
    {"x.1.1", "There is no such mailbox at %.",
	"Check the address for typing mistakes and send the message again, or "
	"ask the person for the right address."},
    {"x.1.2", "The domain % does not exist, or it takes no mail.",
	"Check the part of the address behind the @ for typing mistakes and "
	"send the message again."},
    {"x.1.3", "The address is not written the way a mail address must be.",
	"Check the address for typing mistakes and send the message again."},
    {"x.1.6", "The mailbox has moved and left no new address.",
	"Ask the person for the new address."},
    {"x.1.7", "The receiving server did not accept your address as a sender.",
	"Tell your administrator; he needs the reference above."},
    {"x.1.8", "The receiving server did not accept your address as a sender.",
	"Tell your administrator; he needs the reference above."},
    {"x.1.10", "The domain % says that it takes no mail at all.",
	"Check the part of the address behind the @, or ask the person for "
	"another address."},
    {"x.2.1", "The mailbox is switched off and takes no messages.",
	"Reach the person in another way and ask for another address."},
    {"x.2.2", "The mailbox is full.",
	"Ask the person in another way to make room, then send the message "
	"again."},
    {"x.2.3", "The message is larger than this mailbox accepts.",
	"Send it again with smaller attachments, or send a link to the files."},
    {"x.2.4", "A mailing list behind this address could not be expanded.",
	"Tell the owner of the list."},
    {"x.3.1", "The receiving server has no room left.",
	"Send the message again later."},
    {"x.3.2", "The receiving server takes no messages at the moment.",
	"Send the message again later."},
    {"x.3.4", "The message is larger than the receiving server accepts.",
	"Send it again with smaller attachments, or send a link to the files."},
    {"x.4.1", "The mail server of % could not be reached.",
	"Check the part of the address behind the @. If it is right, send the "
	"message again later or reach the person in another way."},
    {"x.4.2", "The connection to the mail server of % broke down.",
	"Send the message again later or reach the person in another way."},
    {"x.4.3", "The mail server of % could not be looked up.",
	"Check the part of the address behind the @. If it is right, send the "
	"message again later."},
    {"x.4.4", "No way to a mail server of % could be found.",
	"Check the part of the address behind the @. If it is right, send the "
	"message again later."},
    {"x.4.5", "The mail server of % was too busy.",
	"Send the message again later."},
    {"x.4.6", "The message went round in a circle between mail servers.",
	"Tell your administrator: a forwarding at % or here leads back to "
	"where it came from."},
    {"x.4.7", "The message could not be delivered within the time it had.",
	"The mail server of % may be out of order. Send the message again "
	"later or reach the person in another way."},
    {"x.5.3", "The message has more recipients than the server accepts.",
	"Send it to fewer people at a time."},
    {"x.6.3",
	"The receiving server cannot take 8-bit text, which this "
	"message holds.",
	"Tell your administrator; he needs the reference above."},
    {"x.6.7",
	"The receiving server cannot handle addresses with letters "
	"outside ASCII.",
	"Use an address without such letters, for you and for the person."},
    {"x.6.8",
	"The receiving server cannot handle addresses with letters "
	"outside ASCII.",
	"Use an address without such letters, for you and for the person."},
    {"x.6.9",
	"The receiving server cannot handle addresses with letters "
	"outside ASCII.",
	"Use an address without such letters, for you and for the person."},
    {"x.7.2", "You may not send to this mailing list.",
	"Ask the owner of the list for admission."},
    {"x.7.3",
	"The message must be encrypted for this person, and that is "
	"not possible.",
	"Ask the person for a certificate or key, and give it to your "
	"administrator."},
    {"x.7.4",
	"The message must travel over a protected connection (TLS), "
	"and the receiving server did not offer one.",
	"Tell your administrator; he needs the reference above."},
    {"x.7.5",
	"The encryption or signature that this message must have could "
	"not be made or checked.",
	"Tell your administrator; he needs the reference above."},
    {"x.7.10",
	"The message must travel over a protected connection (TLS), "
	"and the receiving server did not offer one.",
	"Tell your administrator; he needs the reference above."},
    {"x.7.20",
	"The receiving server could not confirm that the message is "
	"yours (DKIM).",
	"Tell your administrator; he needs the reference above."},
    {"x.7.23",
	"The receiving server could not confirm that the message is "
	"yours (SPF).",
	"Tell your administrator; he needs the reference above."},
    {"x.7.26",
	"The receiving server could not confirm that the message is "
	"yours (SPF, DKIM, DMARC).",
	"Tell your administrator; he needs the reference above."},
    {"4.7.1",
	"The receiving server put the message off again and again "
	"(greylisting, or too much mail at once).",
	"Send the message again later. If that fails too, tell your "
	"administrator."},
    {"x.7.x",
	"The receiving server refused the message by its rules, often "
	"those against unwanted mail.",
	"Its answer below may say which rule. Change the message accordingly, "
	"or ask the person in another way to let your mail in."},
    {"x.1.x", "The address was not accepted.",
	"Check the address for typing mistakes and send the message again, or "
	"ask the person for the right address."},
    {"x.2.x", "The mailbox could not take the message.",
	"Send the message again later or reach the person in another way."},
    {"x.3.x", "The receiving server could not take the message.",
	"Send the message again later. If that fails too, tell your "
	"administrator."},
    {"x.4.x", "The message could not be brought to the mail server of %.",
	"Send the message again later or reach the person in another way."},
    {"x.6.x", "The receiving server cannot handle the form of this message.",
	"Send it in a simpler form, as plain text for instance."},
    {"4.x.x", "A problem that should pass by itself kept the message back.",
	"Send the message again later. If that fails too, tell your "
	"administrator."},
    {"x", "The receiving server refused the message.",
	"Its answer below may say why. Your administrator can find more with "
	"the reference above."},
};

/* Takes the part up to the next dot off the front. */
static struct slice
next_part(struct slice *s)
{
	size_t dot = slice_find(*s, '.', 0);
	struct slice part = {s->p, dot};
	size_t taken = dot < s->n ? dot + 1 : dot;

	s->p += taken;
	s->n -= taken;
	return part;
}

static bool
matches(const char *code, struct slice status)
{
	struct slice pattern = slice_of(code);

	if (slice_equals(pattern, SLICE("x")))
		return true;
	for (int i = 0; i < 3; i++) {
		struct slice want = next_part(&pattern);
		struct slice got = next_part(&status);

		if (got.n == 0 || (!slice_equals(want, SLICE("x")) &&
				      !slice_equals(want, got)))
			return false;
	}
	return status.n == 0;
}

const struct dsn_reason *
dsn_reason(struct slice status)
{
	size_t i = 0;

	while (!matches(reasons[i].code, status))
		i++;
	return &reasons[i];
}
