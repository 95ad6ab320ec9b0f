import { GUARDED } from './guard-edit.js';
import type { Mutant } from './mutant.js';

const NO_ROW_FIRST = { guard: 'inbox.first', becomes: '' } as const;

/** The receiver: inbox row, business, receipt and ack, in the wrong order or not at all. */
export const noInbox: Mutant = {
  name: 'no-inbox',
  does: 'no inbox row is inserted, and each delivery is handled like the first one',
  breaks: 'a duplicate takes the stock twice',
  foundBy: 'effects of one message',
  edits: [NO_ROW_FIRST],
};

export const inboxRowApart: Mutant = {
  name: 'inbox-row-apart',
  does: 'the inbox row is committed in a transaction of its own, before the business',
  breaks: 'after a crash in between the redelivery passes for a duplicate: DONE at the sender, never handled',
  foundBy: 'stock taken for a message that is DONE',
  edits: [
    NO_ROW_FIRST,
    {
      guard: 'inbox.row',
      becomes: `${GUARDED}
        const isNew = await this.database.own.query(insert.statement, insert.values).then(() => true, () => false);
        if (!isNew) return this.stored.outcomeOf(incoming.id);`,
    },
  ],
};

export const ackBeforeCommit: Mutant = {
  name: 'ack-before-commit',
  does: 'the delivery is acked before its transaction is committed',
  breaks: 'the broker forgets a message whose receiver died, and it is not handled until the sender resends it',
  foundBy: 'messages back in the queue',
  edits: [
    { guard: 'inbox.ack', becomes: '' },
    { guard: 'inbox.take', becomes: `${GUARDED} delivery.ack();` },
  ],
};

export const receiptBeforeCommit: Mutant = {
  name: 'receipt-before-commit',
  does: 'the receipt is sent before the transaction is committed',
  breaks: 'the sender marks a message DONE that only the broker still has, and it is lost with the queue',
  foundBy: 'stock taken for a message that is DONE',
  edits: [{ guard: 'inbox.take', becomes: `${GUARDED} await this.receipt(incoming, 'HANDLED');` }],
};

/** The sender: row, publish, confirm and mark, in the wrong order or not at all. */
export const noRow: Mutant = {
  name: 'no-row',
  does: 'the message is published after the commit, without a row in it',
  breaks: 'a crash in between loses the message',
  foundBy: 'message rows of a committed order',
  edits: [{ guard: 'outbox.row', becomes: '' }],
};

export const noConfirm: Mutant = {
  name: 'no-confirm',
  does: 'a message counts as sent once it is written to the socket, confirmed or not',
  breaks: 'it is SENT although the broker never got it',
  foundBy: 'state of a message that the broker has not got',
  edits: [{ guard: 'publisher.publish', becomes: `resolve(); ${GUARDED}` }],
};

const RETURNED = 'message in the queue that it was SENT to';

export const returnedIsSent: Mutant = {
  name: 'returned-is-sent',
  does: 'a message that was returned as unroutable counts as sent because the broker confirmed it',
  breaks: 'a message that is SENT to a deleted queue is lost',
  foundBy: RETURNED,
  edits: [{ guard: 'publisher.returned', becomes: '' }],
};

export const notMandatory: Mutant = {
  name: 'not-mandatory',
  does: 'messages are not published as mandatory, so the broker drops an unroutable one and confirms it',
  breaks: 'a message that is SENT to a deleted queue is lost',
  foundBy: RETURNED,
  edits: [{ guard: 'publisher.mandatory', swap: ['mandatory: true', 'mandatory: false'] }],
};

export const nackIsFinal: Mutant = {
  name: 'nack-is-final',
  does: 'a message that RabbitMQ nacks is not sent again',
  breaks: 'each publish fails while a quorum queue elects its leader',
  foundBy: 'rejected the message (nack)',
  edits: [{ guard: 'publisher.nacked', becomes: 'throw error;' }],
};

export const nackingChannelStays: Mutant = {
  name: 'nacking-channel-stays',
  does: 'a channel with a nack is used on',
  breaks: 'RabbitMQ 3.10 nacks each message of it to a queue whose leader has died, for ever',
  foundBy: 'another channel takes the place of the one that nacks',
  edits: [{ guard: 'publisher.renew', becomes: '' }],
};

/** The claim: which rows are due, and which process holds them. */
export const byId: Mutant = {
  name: 'by-id',
  does: 'the scan takes the rows behind the last id that it has seen, instead of all that are due',
  breaks: 'a row with a smaller id that was committed later is never sent',
  foundBy: 'the row that was committed last is sent',
  edits: [
    // biome-ignore lint/suspicious/noTemplateCurlyInString: part of the template in the build
    { guard: 'keyed-claim.look', swap: ['ORDER BY next_attempt_at', "AND id > '${this.seen ?? ''}' ORDER BY id"] },
    { guard: 'keyed-claim.claimed', becomes: `this.seen = rows.at(-1)?.id ?? this.seen; ${GUARDED}` },
  ],
};

const FENCE_OFF = ['AND claim_token = ?', 'AND ? IS NOT NULL'] as const;

export const noFence: Mutant = {
  name: 'no-fence',
  does: 'a claimed row is settled by its id, even if another process holds its claim by now',
  breaks: 'a process that was paused beyond its lease takes the row from the one that works on it',
  foundBy: 'settled under a claim that was lost',
  edits: [
    { guard: 'claim.again', swap: FENCE_OFF },
    { guard: 'claim.parked', swap: FENCE_OFF },
  ],
};
