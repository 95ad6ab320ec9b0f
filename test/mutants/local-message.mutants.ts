import type { Edit, Mutant } from './mutant.js';

const INBOX = 'core/consumer/inbox.js';
const PUBLISHER = 'core/broker/confirm-publisher.js';
const CLAIM = 'core/durable/claim.js';
const INBOX_ROW = 'first: { ...insert, ifThere: () => new AlreadyThere() },';
const INBOX_INSERT = `const insert = insertOf('dtx_inbox', { ...rowOf(incoming), ...row });`;

/** The receiver: inbox row, business, receipt and ack, in the wrong order or not at all. */
export const noInbox: Mutant = {
  name: 'no-inbox',
  does: 'no inbox: each delivery is handled as if it were the first',
  breaks: 'a duplicate takes the stock twice',
  foundBy: 'effects of one message',
  edits: [{ file: INBOX, find: INBOX_ROW, replace: '' }],
};

export const inboxRowApart: Mutant = {
  name: 'inbox-row-apart',
  does: 'the inbox row is committed in a transaction of its own, before the business',
  breaks: 'a crash in between makes the redelivery a duplicate of nothing: DONE at the sender, never handled',
  foundBy: 'stock taken for a message that is DONE',
  edits: [
    { file: INBOX, find: INBOX_ROW, replace: '' },
    { file: INBOX, find: 'import { insertOf,', replace: 'import { insertFirst, insertOf,' },
    {
      file: INBOX,
      find: INBOX_INSERT,
      replace: `if (!(await insertFirst(this.database.own, 'dtx_inbox', { ...rowOf(incoming), ...row })))
        return this.stored.outcomeOf(incoming.id);`,
    },
  ],
};

const BEGIN_OF_RECEIVE = 'const incoming = incomingOf(delivery.message, endpoint.consumer);';

export const ackBeforeCommit: Mutant = {
  name: 'ack-before-commit',
  does: 'the delivery is acked before its transaction is committed',
  breaks: 'the broker forgets a message that died with its receiver, and nothing moves until the sender resends',
  foundBy: 'messages back in the queue',
  edits: [
    { file: INBOX, find: 'delivery.ack();', replace: '' },
    { file: INBOX, find: BEGIN_OF_RECEIVE, replace: `${BEGIN_OF_RECEIVE} delivery.ack();` },
  ],
};

export const receiptBeforeCommit: Mutant = {
  name: 'receipt-before-commit',
  does: 'the receipt is sent before the transaction is committed',
  breaks: 'the sender takes for DONE what only the broker still has; with the queue it is lost',
  foundBy: 'stock taken for a message that is DONE',
  edits: [
    {
      file: INBOX,
      find: BEGIN_OF_RECEIVE,
      replace: `${BEGIN_OF_RECEIVE} await this.receipt(incoming, 'HANDLED');`,
    },
  ],
};

/** The sender: row, publish, confirm and mark, in the wrong order or not at all. */
export const noRow: Mutant = {
  name: 'no-row',
  does: 'the message is published after the commit, without a row in it',
  breaks: 'a crash in between loses the message',
  foundBy: 'message rows of a committed order',
  edits: [
    {
      file: 'local-message/outbox.js',
      find: 'await failpoint(failpoints.appended, () => this.insert(scope, row).catch(clockStopped));',
      replace: 'await failpoint(failpoints.appended, async () => {});',
    },
  ],
};

export const noConfirm: Mutant = {
  name: 'no-confirm',
  does: 'a message counts as sent once it is written to the socket, confirmed or not',
  breaks: 'it is SENT though the broker never got it',
  foundBy: 'state of a message that the broker has not got',
  edits: [{ file: PUBLISHER, find: `channel.publish('',`, replace: `resolve();\nchannel.publish('',` }],
};

const RETURNED = 'message in the queue that it was SENT to';

export const returnedIsSent: Mutant = {
  name: 'returned-is-sent',
  does: 'a message that came back as unroutable counts as sent, since the broker confirmed it',
  breaks: 'SENT to a queue that somebody had deleted, it is nowhere',
  foundBy: RETURNED,
  edits: [{ file: PUBLISHER, find: 'if (sent.returned)', replace: 'if (false)' }],
};

export const notMandatory: Mutant = {
  name: 'not-mandatory',
  does: 'messages are not published as mandatory, so that the broker drops an unroutable one and confirms it',
  breaks: 'SENT to a queue that somebody had deleted, it is nowhere',
  foundBy: RETURNED,
  edits: [{ file: PUBLISHER, find: 'mandatory: true', replace: 'mandatory: false' }],
};

const LANE_CLAIM = 'core/durable/lane-claim.js';

/** The claim: what is due, and whose it is. */
export const byId: Mutant = {
  name: 'by-id',
  does: 'the scan takes the rows behind the last id that it has seen, instead of all that are due',
  breaks: 'a row with a smaller id that was committed later is never sent',
  foundBy: 'the row that was committed last is sent',
  edits: [
    {
      file: LANE_CLAIM,
      find: 'class LaneClaim {',
      replace: "class LaneClaim {\n    seen = '';",
    },
    {
      file: LANE_CLAIM,
      find: 'ORDER BY next_attempt_at LIMIT',
      replace: `AND id > '\${this.seen}' ORDER BY id LIMIT`,
    },
    {
      file: LANE_CLAIM,
      find: 'return { rows, isMore',
      replace: 'this.seen = rows.at(-1)?.id ?? this.seen;\n        return { rows, isMore',
    },
  ],
};

const unfenced = (file: string, values: string): Edit => ({
  file,
  find: `AND claim_token = ?\`, [${values}, row.claim_token]`,
  replace: `\`, [${values}]`,
});

export const noFence: Mutant = {
  name: 'no-fence',
  does: 'a claimed row is settled by its id, whoever holds the claim by now',
  breaks: 'a process that was paused beyond its lease takes the row from the one that works on it',
  foundBy: 'settled under a claim that was lost',
  edits: [
    unfenced(CLAIM, 'attempts, error, row.id'),
    unfenced('core/durable/settle.js', 'attempts, error.slice(0, ERROR_CHARS_MAX), row.id'),
  ],
};
