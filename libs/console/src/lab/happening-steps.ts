import type { Step } from '../lanes';
import type { Happening } from './lab-types';
import type { LabWord } from './lab-words';

const WORDS: Record<Exclude<Happening['kind'], 'hit'>, LabWord> = {
  died: 'died',
  started: 'started',
  ready: 'ready',
  second: 'second',
  'second-stopped': 'secondStopped',
};

/** What has happened to processes since the start of the one that the break of this subject has hit. None before the hit. */
export function stepsOfBreak(
  subject: string,
  happenings: readonly Happening[],
  words: Record<LabWord, string>,
): Step[] {
  const how = subject.replace(' ', ' at ');
  const hit = happenings.findLastIndex((one) => one.kind === 'hit' && one.how === how);
  if (hit < 0) return [];
  const start = happenings.findIndex(({ kind, pid }) => kind === 'started' && pid === happenings[hit]?.pid);
  return happenings.slice(start < 0 ? hit : start).map((one) => stepOf(one, words));
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
