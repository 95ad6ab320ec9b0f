import { defineFailpoint } from '../core/failpoint.js';
import { defineInboxFailpoints } from '../core/inbox/failpoints.js';

export const SCHEME = 'half-message';

const point = (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, app: 'inventory', disk, finisher });

/** The producer's crash points, in the order of the protocol. */
export const failpoints = {
  prepared: point(
    'prepared',
    1,
    'The prepared copy waits in the broker; the local transaction has not begun.',
    'The check, when the copy’s time ends: it rules ROLLED_BACK, nobody ever hears of the message.',
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
    'The broker has the message and has confirmed it; the verdict is not marked as sent.',
    'The check publishes it once more, which the consumers’ inbox makes a duplicate.',
  ),
  marked: point(
    'marked',
    3,
    'The verdict is marked as sent; the copy still waits in the broker.',
    'The check drops the copy.',
  ),
  checked: point(
    'checked',
    4,
    'The check has published the message of a COMMITTED verdict, with confirm; the copy is not acked.',
    'The broker delivers the copy again to any instance of the producer; the message may be sent once more.',
  ),
  ruled: point(
    'ruled',
    4,
    'The check has written ROLLED_BACK, because there was no verdict; the copy is not acked.',
    'The broker delivers the copy again and the verdict says what to do; a local transaction that comes late fails.',
  ),
  postponed: point(
    'postponed',
    4,
    'The verdict is not known yet (its transaction is open); a copy waits in the next level, this one is not acked.',
    'The broker delivers this copy again; two copies are checked, and both find the same verdict.',
  ),
  exhausted: point(
    'exhausted',
    4,
    'The last level is used up without a verdict; the copy is stored as PARKED with its one alert and not acked.',
    'The broker delivers the copy again, which finds its row; a person retries the check.',
  ),
};

defineInboxFailpoints(SCHEME, 'payment', { handle: 5 });
