// How work comes to meet each failpoint. An ordinary purchase meets most of them; the others need something to go wrong
// (or to be early) first.

const XA_ORPHAN = {
  first: 'xa.prepared-first=1*lost',
  because: 'the answer to a PREPARE is lost first, so that there is an orphan for the recovery to find at its deadline',
};

/**
 * `first`: failpoints armed before the asked one, in the same app; `options`: the app's DTX_OPTIONS for this start;
 * `stimulus`: what is sent instead of a purchase; `because` tells the reader.
 */
const WAYS = {
  'xa.presumed': XA_ORPHAN,
  'xa.claimed': XA_ORPHAN,
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
};

/**
 * Whether a purchase came to what it may come to: with TCC one that nobody had decided when somebody died is cancelled
 * as a whole at its deadline, which is as good an end as any.
 */
export function endedWell(point, final) {
  if (final?.status === 'CONFIRMED') return true;
  return point.scheme === 'tcc' && final?.status === 'CANCELLED' && final.reason === 'TIMEOUT';
}

/** The environment that arms a failpoint, and what to send. */
export function wayTo(point, { mode, failpointLog }) {
  const { first, options, stimulus = 'purchase', because = null } = WAYS[point.name] ?? {};
  const env = {
    DTX_FAILPOINTS: [first, `${point.name}=1*${mode}`].filter(Boolean).join(';'),
    DTX_FAILPOINT_LOG: failpointLog,
    ...(options ? { DTX_OPTIONS: JSON.stringify(options) } : {}),
  };
  return { env, stimulus, because };
}
