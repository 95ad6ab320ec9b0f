// How work comes to meet each failpoint. An ordinary purchase meets most of them; the others need something to go wrong
// (or to be early) first.

const XA_ORPHAN = {
  first: 'xa.prepared-first=1*lost',
  because: 'the answer to a PREPARE is lost first, so that there is an orphan for the recovery to find at its deadline',
};

/**
 * `wanted`: what is bought instead of a book; `settles`: the table whose parked rows a person settles in the end;
 * `first`: failpoints armed before the asked one, in the same app; `options`: the app's DTX_OPTIONS for this start;
 * `stimulus`: what is sent instead of a purchase; `because` tells the reader.
 */
const WAYS = {
  'xa.presumed': XA_ORPHAN,
  'xa.claimed': XA_ORPHAN,
  'xa.doubted': {
    stimulus: 'lost-decision',
    settles: 'dtx_xa',
    because: 'a branch is written down as committed of which the decision log knows nothing; no purchase is involved',
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
    because: 'a message that nobody can read is put into the queue; no purchase is involved',
  },
  'half-message.rolled-back': {
    wanted: { buyerId: 'alice', sku: 'phone', quantity: 900 },
    because: 'more is asked for than there is, so that the local transaction is rolled back',
  },
  'half-message.ruled': {
    first: 'half-message.committed=1*error',
    because: 'the first sale fails before its local transaction, so that its copy comes to the check without a verdict',
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
    settles: 'dtx_half_parked',
    because: 'the local transaction is held open for 6 s, and there is one check only, after 2 s',
  },
  'half-message.swept': {
    first: 'half-message.committed=1*lost',
    options: { halfMessage: { sweepAfterMs: 1000 } },
    because: 'the fast path is made to fail after the commit, and the sweeper comes before the check',
  },
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
    because: 'a message that nobody can read is put into the queue; no purchase is involved',
  },
};

/**
 * Whether a purchase came to what it may come to: with TCC one that nobody had decided when somebody died is cancelled
 * as a whole at its deadline, which is as good an end as any.
 */
export function endedWell(point, final) {
  if (final?.status === 'CONFIRMED') return true;
  if (point.name === 'half-message.rolled-back') return final?.reason === 'OUT_OF_STOCK';
  return point.scheme === 'tcc' && final?.status === 'CANCELLED' && final.reason === 'TIMEOUT';
}

/** What is bought to meet a point: a notification follows any purchase, an ordinary one will do. */
const schemeOf = ({ scheme }) => (scheme === 'notify' ? 'local-message' : scheme);

/** The environment that arms a failpoint, and what to send. */
export function wayTo(point, { mode, failpointLog }) {
  const { first, options, because = null, ...rest } = WAYS[point.name] ?? {};
  const { stimulus = point.scheme === 'reliable-message' ? 'restock' : 'purchase', wanted, settles } = rest;
  const env = {
    DTX_FAILPOINTS: [first, `${point.name}=1*${mode}`].filter(Boolean).join(';'),
    DTX_FAILPOINT_LOG: failpointLog,
    ...(options ? { DTX_OPTIONS: JSON.stringify(options) } : {}),
  };
  return { env, stimulus, scheme: schemeOf(point), wanted, settles, because };
}
