// How each failpoint is armed and reached. An ordinary purchase reaches most of them. The others need an earlier failure or a
// changed option.

import type { Failpoint } from 'nest-dtx';
import { tableNames } from 'nest-dtx/testing';
import type { PurchaseScheme, Wanted } from '../../shop/purchase.js';

export type StimulusKind = 'purchase' | 'restock' | 'unreadable' | 'lost-decision';

/** How a failpoint is reached, where an ordinary purchase does not reach it. */
interface Preparation {
  /** Failpoints armed before the asked one, in the same app. */
  readonly first?: string;
  /** The app's DTX_OPTIONS for this start. */
  readonly options?: object;
  /** Sent instead of a purchase. */
  readonly stimulus?: StimulusKind;
  /** Bought instead of a book. */
  readonly wanted?: Wanted;
  /** The table whose parked rows are settled at the end. */
  readonly settles?: string;
  /** An explanation for the reader. */
  readonly because: string;
}

const XA_ORPHAN: Preparation = {
  first: 'xa.prepared-first=1*lost',
  because: 'the answer to a PREPARE is lost first, so that there is an orphan for the recovery to find at its deadline',
};

const REFUSED_SAGA: Preparation = {
  wanted: { buyerId: 'alice', sku: 'phone', quantity: 900 },
  because: 'more is asked for than there is, so that the steps before are undone',
};

const PREPARATIONS: Record<string, Preparation> = {
  'xa.presumed': XA_ORPHAN,
  'xa.claimed': XA_ORPHAN,
  'xa.doubted': {
    stimulus: 'lost-decision',
    settles: tableNames.xa,
    because: 'a branch is recorded as committed without a decision in the log; no purchase is involved',
  },
  'local-message.claimed': {
    first: 'local-message.committed=1*error',
    because: 'the fast path is made to fail, so that the scan has to claim the row when its lease has run out',
  },
  'local-message.marked': {
    options: { localMessage: { markDelayMs: 1 } },
    because: 'the mark SENT is not gathered for a moment as usual, so that it comes before the receipt',
  },
  'local-message.held': {
    first: 'local-message.handled=1*error',
    because: 'the handler is made to fail once, so that the delivery is stored to be tried again',
  },
  'local-message.parked': {
    stimulus: 'unreadable',
    because: 'a message that is not JSON is put into the queue; no purchase is involved',
  },
  'half-message.rolled-back': {
    wanted: { buyerId: 'alice', sku: 'phone', quantity: 900 },
    because: 'more is asked for than there is, so that the local transaction is rolled back',
  },
  'half-message.ruled': {
    first: 'half-message.committed=1*error',
    because: 'the first sale fails before its local transaction, so that its copy is checked without a verdict',
  },
  'half-message.checked': {
    first: 'half-message.committed=1*lost',
    because: 'the fast path is made to fail after the commit, so that the check sends the message, 5 s later',
  },
  'half-message.postponed': {
    first: 'half-message.opened=1*delay(8000)',
    because: 'the local transaction is held open for 8 s, and the first check comes after 5 s',
  },
  'half-message.exhausted': {
    first: 'half-message.opened=1*delay(6000)',
    options: { halfMessage: { levelsMs: [2000] } },
    settles: tableNames.halfParked,
    because: 'the local transaction is held open for 6 s, and there is one check only, after 2 s',
  },
  'half-message.swept': {
    first: 'half-message.committed=1*lost',
    options: { halfMessage: { sweepAfterMs: 1000 } },
    because: 'the fast path is made to fail after the commit, and the sweeper comes before the check',
  },
  'saga.fenced': {
    first: 'saga.pivot-answered=lost',
    options: { saga: { absentMs: 100, attemptsMax: 1 } },
    because: 'the answers of the pivot are lost, and one is the last attempt, so that the fence has to find out',
  },
  'saga.decided': REFUSED_SAGA,
  'saga.first-undone': REFUSED_SAGA,
  'saga.all-undone': REFUSED_SAGA,
  'saga.undo-committed': REFUSED_SAGA,
  'notify.claimed': {
    first: 'notify.recorded=1*lost',
    because: 'the fast path is made to fail once the notification is recorded, so that the scan calls the target',
  },
  'half-message.held': {
    first: 'half-message.handled=1*error',
    because: 'the handler is made to fail once, so that the delivery is stored to be tried again',
  },
  'half-message.parked': {
    stimulus: 'unreadable',
    because: 'a message that is not JSON is put into the queue; no purchase is involved',
  },
};

/** The scheme by which a purchase reaches the point. A notification follows any purchase. */
const schemeOf = ({ scheme }: Failpoint) => (scheme === 'notify' ? 'local-message' : scheme) as PurchaseScheme;

export interface Arming {
  readonly env: NodeJS.ProcessEnv;
  readonly stimulus: StimulusKind;
  readonly scheme: PurchaseScheme;
  readonly wanted?: Wanted;
  readonly settles?: string;
  readonly because?: string;
}

/** The environment that arms a failpoint, and what to send. */
export function armingOf(
  point: Failpoint,
  { mode, failpointLog }: { mode: 'crash' | 'pause' | 'error'; failpointLog: string },
): Arming {
  const { first, options, because, wanted, settles, stimulus }: Partial<Preparation> = PREPARATIONS[point.name] ?? {};
  const usual = point.scheme === 'reliable-message' ? 'restock' : 'purchase';
  const env = {
    DTX_FAILPOINTS: [first, `${point.name}=1*${mode}`].filter(Boolean).join(';'),
    DTX_FAILPOINT_LOG: failpointLog,
    ...(options ? { DTX_OPTIONS: JSON.stringify(options) } : {}),
  };
  return { env, stimulus: stimulus ?? usual, scheme: schemeOf(point), wanted, settles, because };
}
