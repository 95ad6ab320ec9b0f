import type { Step } from '../lanes';
import type { Happening } from './lab-types';
import type { LabWord } from './lab-words';

/** Before the first row of a transaction its process may have been armed and started. */
const BEFORE_MS = 15_000;

const WORDS: Record<Exclude<Happening['kind'], 'hit'>, LabWord> = {
  died: 'died',
  started: 'started',
  ready: 'ready',
  second: 'second',
  'second-stopped': 'secondStopped',
};

/** What has happened to processes since shortly before `from`, as steps for the lanes. Null: since the last start of work. */
export function stepsOfProcesses(
  happenings: readonly Happening[],
  from: number,
  words: Record<LabWord, string>,
): Step[] {
  return happenings.filter(({ at }) => at >= from - BEFORE_MS).map((one) => stepOf(one, words));
}

function stepOf({ kind, app, pid, at, how }: Happening, words: Record<LabWord, string>): Step {
  const what = kind === 'hit' ? (how ?? '') : `${words[WORDS[kind]]}${how ? ` (${how})` : ''}`;
  return {
    at,
    lane: app,
    text: `${words.process} ${pid}: ${what}`,
    kind: kind === 'died' || kind === 'hit' ? 'failure' : 'operator',
    arrow: null,
  };
}
