import type { Mutant } from './mutant.js';

export const PREPARED = 'where the branches that nobody may end are prepared';
const LOG = 'xa/log.js';
const ORPHANS = 'xa/orphans.js';
const TAIL = 'xa/tail.js';
const RECOVERY = 'xa/recovery.js';
const SETTLE = 'xa/in-doubt-branch.js';

export const sentinelOff: Mutant = {
  name: 'sentinel-off',
  does: 'a log without its sentinel is believed',
  breaks: 'once the log is emptied, what was decided is rolled back, and its order stands without money and stock',
  foundBy: PREPARED,
  edits: [{ file: LOG, find: 'const isWhole = Number(row.sentinels) === 1;', replace: 'const isWhole = true;' }],
};

export const evidenceOff: Mutant = {
  name: 'evidence-off',
  does: 'the log is compared with no committed branch, and no other branch of an orphan is looked for',
  breaks: 'once the log has lost its end, one half of a purchase is rolled back while the other is committed',
  foundBy: PREPARED,
  edits: [
    { file: TAIL, find: 'await this.compare(resource, state)', replace: 'await Promise.resolve()' },
    { file: ORPHANS, find: 'committed.has(gtrid) && !decided.has(id)', replace: 'false' },
    { file: ORPHANS, find: 'certain.filter(({ gtrid }) => !committed.has(gtrid));', replace: 'certain;' },
  ],
};

export const traceOff: Mutant = {
  name: 'trace-off',
  does: 'whatever a server lists under the id of the log is ended',
  breaks: 'a copy of the databases on the same servers rolls back what the original has decided to commit',
  foundBy: PREPARED,
  edits: [
    { file: RECOVERY, find: `traces[index] === 'held'`, replace: 'true' },
    {
      file: SETTLE,
      find: `if (before === 'held')
            await refusalOf`,
      replace: 'await refusalOf',
    },
  ],
};
