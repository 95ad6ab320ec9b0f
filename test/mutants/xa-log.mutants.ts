import type { Mutant } from './mutant.js';

export const PREPARED = 'databases where the undecidable branches are prepared';

export const sentinelOff: Mutant = {
  name: 'sentinel-off',
  does: 'a log without its sentinel is trusted',
  breaks:
    'after the log is emptied, decided transactions are rolled back and their orders stand without money and stock',
  foundBy: PREPARED,
  edits: [{ guard: 'xa.sentinel', becomes: 'const isWhole = true;' }],
};

export const evidenceOff: Mutant = {
  name: 'evidence-off',
  does: 'the log is compared with no committed branch, and no other branch of an orphan is searched for',
  breaks: 'after the log has lost its end, one half of a purchase is rolled back while the other is committed',
  foundBy: PREPARED,
  edits: [
    { guard: 'xa.compare', becomes: '' },
    { guard: 'xa.half', becomes: 'const half = [];' },
    { guard: 'xa.whole', becomes: 'const whole = certain;' },
  ],
};

export const traceOff: Mutant = {
  name: 'trace-off',
  does: 'every branch that a server lists under the id of the log is ended',
  breaks: 'a copy of the databases on the same servers rolls back transactions that the original decided to commit',
  foundBy: PREPARED,
  edits: [
    { guard: 'xa.here', becomes: 'return prepared;' },
    { guard: 'xa.roll-back-trace', condition: 'true' },
  ],
};
