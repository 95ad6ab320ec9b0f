import { defineInboxFailpoints } from '../core/consumer/failpoints.js';
import { defineFailpoint } from '../core/failpoint.js';
import { defineScheme } from '../core/scheme.js';

export const SCHEME = defineScheme('half-message');

const point = (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role: 'sender', disk, finisher });

/** The producer's crash points, in the order of the protocol. */
export const failpoints = {
  prepared: point(
    'prepared',
    1,
    'The prepared copy waits in the broker; the local transaction has not begun.',
    'The check, when the copy’s time ends: it rules ROLLED_BACK, and a local transaction that comes later fails on that row.',
  ),
  opened: point(
    'opened',
    2,
    'The verdict COMMITTED is inserted in the local transaction, which is not committed: nothing but the copy is on disk.',
    'The check: while the transaction is open its row is locked and the check says unknown; once it is gone, ROLLED_BACK.',
  ),
  committed: point(
    'committed',
    2,
    'Business and verdict COMMITTED are committed at the producer; the message itself is not published.',
    'The check of any instance of the producer, when the copy’s time ends; the sweeper, should the copy be lost.',
  ),
  confirmed: point(
    'confirmed',
    3,
    'The broker has the message for every consumer and has confirmed it; the verdict is still COMMITTED, not SENT.',
    'The consumers go on; the check publishes it once more, which their inboxes make a duplicate.',
  ),
  marked: point('marked', 3, 'The verdict is SENT; the copy still waits in the broker.', 'The check drops the copy.'),
  rolledBack: point(
    'rolled-back',
    3,
    'The local transaction was rolled back and the verdict says ROLLED_BACK; the copy still waits in the broker.',
    'The check drops the copy.',
  ),
  ruled: point(
    'ruled',
    4,
    'The check found no verdict and has committed ROLLED_BACK; the copy is not acked.',
    'The broker delivers the copy again, which is dropped; a local transaction that comes late fails.',
  ),
  checked: point(
    'checked',
    4,
    'The check has published the message of a COMMITTED verdict, with confirm; neither the mark nor the ack is done.',
    'The broker delivers the copy again to any instance of the producer, which may publish a duplicate.',
  ),
  postponed: point(
    'postponed',
    4,
    'The local transaction is still open: a copy waits in the next level, with confirm; this one is not acked.',
    'The broker delivers this copy again; then two are checked, and both find the same verdict.',
  ),
  exhausted: point(
    'exhausted',
    4,
    'The last level is used up without a verdict: the copy is stored as PARKED with its one alert, and is not acked.',
    'The broker delivers the copy again, which finds it stored; a person retries, rejects or settles it.',
  ),
  done: point(
    'done',
    6,
    'The receipts of every consumer are written down: the verdict is DONE; the receipts are not acked.',
    'The broker delivers the receipts again, which change nothing.',
  ),
  swept: point(
    'swept',
    6,
    'The sweeper has published the message of a COMMITTED verdict that nobody had marked, with confirm; no mark yet.',
    'The sweeper of any instance, once the lease has run out; it publishes a duplicate.',
  ),
};

defineInboxFailpoints(SCHEME, { handle: 5 });
