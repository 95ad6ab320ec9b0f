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

const HALVED = 'after the log has lost its end, one half of a purchase is rolled back while the other is committed';

export const uncompared: Mutant = {
  name: 'uncompared',
  does: 'the log is compared with no committed branch',
  breaks: HALVED,
  foundBy: PREPARED,
  edits: [{ guard: 'xa.compare', becomes: '' }],
};

export const orphanAlone: Mutant = {
  name: 'orphan-alone',
  does: 'no other branch of an orphan is searched for',
  breaks: HALVED,
  foundBy: PREPARED,
  edits: [
    { guard: 'xa.half', becomes: 'const half = [];' },
    { guard: 'xa.whole', becomes: 'const whole = certain;' },
  ],
};

export const evidenceOff: Mutant = {
  name: 'evidence-off',
  does: 'the log is compared with no committed branch, and no other branch of an orphan is searched for',
  breaks: HALVED,
  foundBy: PREPARED,
  edits: [...uncompared.edits, ...orphanAlone.edits],
};

const COPY = 'a copy of the databases on the same servers rolls back transactions that the original decided to commit';

export const hereIsAnywhere: Mutant = {
  name: 'here-is-anywhere',
  does: 'every branch that a server lists under the id of the log counts as one of this database',
  breaks: COPY,
  foundBy: PREPARED,
  edits: [{ guard: 'xa.here', becomes: 'return prepared;' }],
};

export const rollsBackUntraced: Mutant = {
  name: 'rolls-back-untraced',
  does: 'XA ROLLBACK is sent without a trace of the branch in this database',
  breaks: COPY,
  foundBy: PREPARED,
  edits: [{ guard: 'xa.roll-back-trace', condition: 'true' }],
};

export const traceOff: Mutant = {
  name: 'trace-off',
  does: 'every branch that a server lists under the id of the log is ended',
  breaks: COPY,
  foundBy: PREPARED,
  edits: [...hereIsAnywhere.edits, ...rollsBackUntraced.edits],
};
