import { defineInboxFailpoints } from '../core/consumer/failpoints.js';
import { defineFailpoint } from '../core/failpoint.js';
import { defineScheme } from '../core/loaded-scheme-names.js';

export const SCHEME = defineScheme('half-message');

const point = (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role: 'sender', disk, finisher });

/** The producer's crash points, in the order of the protocol. */
export const failpoints = {
  prepared: point(
    'prepared',
    1,
    'The prepared message waits in the broker. The local transaction has not begun.',
    'The check, after the check delay. It rules ROLLED_BACK, and a local transaction that begins later fails on that row.',
  ),
  opened: point(
    'opened',
    2,
    'The verdict COMMITTED is inserted in the local transaction, which is not committed. Only the prepared message is on disk.',
    'The check. It postpones while the row is locked by the open transaction, and rules ROLLED_BACK after its end.',
  ),
  committed: point(
    'committed',
    2,
    'Business rows and the verdict COMMITTED are committed at the producer. The message itself is not published.',
    'The check of any instance of the producer, after the check delay. The sweeper, if the prepared message is lost.',
  ),
  confirmed: point(
    'confirmed',
    3,
    'The broker has confirmed the message for every consumer. The verdict is still COMMITTED, not SENT.',
    'The consumers handle the message. The check publishes it again, and their inboxes drop the duplicate.',
  ),
  marked: point(
    'marked',
    3,
    'The verdict is SENT. The prepared message still waits in the broker.',
    'The check drops the prepared message.',
  ),
  rolledBack: point(
    'rolled-back',
    3,
    'The local transaction is rolled back and the verdict is ROLLED_BACK. The prepared message still waits in the broker.',
    'The check drops the prepared message.',
  ),
  ruled: point(
    'ruled',
    4,
    'The check found no verdict and has committed ROLLED_BACK. The prepared message is not acked.',
    'The broker redelivers the prepared message, and the check drops it. A late local transaction fails.',
  ),
  checked: point(
    'checked',
    4,
    'The check has published the message of a COMMITTED verdict, with confirm. Neither the mark nor the ack is done.',
    'The broker redelivers the prepared message to any instance of the producer, which may publish a duplicate.',
  ),
  postponed: point(
    'postponed',
    4,
    'The local transaction is still open. The prepared message waits for its next check, with confirm. This one is not acked.',
    'The broker redelivers this prepared message. Two are checked later, and both find the same verdict.',
  ),
  exhausted: point(
    'exhausted',
    4,
    'The last check found no verdict. The prepared message is stored as PARKED with one alert, and is not acked.',
    'The broker redelivers the prepared message, which is already stored. An operator retries, rejects or settles it.',
  ),
  done: point(
    'done',
    6,
    'Receipts are recorded, and with the last one of a message its verdict is DONE. The receipts are not acked.',
    'The broker redelivers the receipts, which change nothing.',
  ),
  swept: point(
    'swept',
    6,
    'The sweeper has published the message of a COMMITTED verdict without a mark, with confirm. The mark is not written.',
    'The sweeper of any instance, after the lease has expired. It publishes a duplicate.',
  ),
};

defineInboxFailpoints(SCHEME, { handle: 5 });
