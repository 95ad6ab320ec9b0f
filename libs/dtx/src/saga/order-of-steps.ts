// The rules for the order of steps. Pure functions on a definition, without a database.
import { createHash } from 'node:crypto';
import { callsOf, nameOf, pivotGroupOf, type Saga, type SagaEntry, type WaitEntry } from './saga-entries.js';

type Groups = Saga['groups'];

const WAIT_MS_MAX = 366 * 86_400_000;

/** The longest time in milliseconds from the start until a Do or Undo of this saga may run, before a person intervenes. */
export function longestMs({ deadlineMs, groups }: Saga): number {
  const limits = groups.flat().map((entry) => (entry.kind === 'wait' ? (entry.withinMs ?? 0) : 0));
  return limits.reduce((sum, one) => sum + one, deadlineMs);
}

/** Identifies the order, the kinds and the steps of a saga. A running saga must find them as it began. */
export function fingerprintOf({ groups }: Saga): string {
  const parts = groups.map((group) =>
    group.map((entry) => [entry.kind, nameOf(entry), entry.kind === 'wait' ? null : entry.step.version]),
  );
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** The first reason why the order could not be carried out or taken back, with the way to correct it. */
export function problemOfOrder(groups: Groups): string | undefined {
  const entries = groups.flat();
  return (
    problemOfNames(entries) ??
    problemOfPivot(groups) ??
    problemOfGroupedWait(groups) ??
    groups.flatMap((group, index) => group.map((entry) => problemOf(entry, placeOf(groups, index)))).find(Boolean)
  );
}

type Place = 'before' | 'pivot' | 'after' | 'without';

function placeOf(groups: Groups, index: number): Place {
  const pivot = pivotGroupOf(groups);
  if (pivot === undefined) return 'without';
  if (index === pivot) return 'pivot';
  return index < pivot ? 'before' : 'after';
}

function problemOfNames(entries: readonly SagaEntry[]): string | undefined {
  const names = entries.map((entry) => nameOf(entry));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return undefined;
  return `${twice} is in it twice; a saga has each step once, so define a second step with a name of its own`;
}

function problemOfPivot(groups: Groups): string | undefined {
  const pivots = callsOf(groups).filter(({ kind }) => kind === 'pivot');
  const names = pivots.map((entry) => nameOf(entry)).join(' and ');
  if (pivots.length > 1)
    return `two pivots, ${names}; the point of no return is one step, so make the others compensable before it or retriable after it`;
  const group = groups[pivotGroupOf(groups) ?? -1];
  if (group && group.length > 1)
    return `the pivot ${names} is in a group; let it stand alone, since nothing may run beside it`;
  return undefined;
}

function problemOfGroupedWait(groups: Groups): string | undefined {
  const wait = groups
    .filter((group) => group.length > 1)
    .flatMap((group) => group.filter(({ kind }) => kind === 'wait'))[0];
  return wait && `waitFor of ${nameOf(wait)} is in a group; let it stand alone, since steps do not wait for a person`;
}

function problemOf(entry: SagaEntry, place: Place): string | undefined {
  if (entry.kind === 'wait') return problemOfWait(entry, place);
  const name = nameOf(entry);
  if (place === 'after' && entry.kind === 'compensable')
    return `compensable step ${name} after the pivot; the saga cannot turn back there, so move the step before the pivot or make it retriable`;
  if (place === 'after' && entry.kind === 'checking')
    return `checking step ${name} after the pivot; nothing may refuse after it, so move the step before the pivot`;
  if (place === 'before' && entry.kind === 'retriable')
    return `retriable step ${name} before the pivot; it could not be taken back, so make it compensable or move it after the pivot`;
  if (place === 'without' && entry.kind === 'retriable')
    return `retriable step ${name} without a pivot; it could not be taken back, so make it compensable or put a pivot before it`;
  return undefined;
}

function problemOfWait({ signal, withinMs, refusal }: WaitEntry, place: Place): string | undefined {
  const wait = `waitFor(${signal.name})`;
  if (withinMs !== null && (!Number.isInteger(withinMs) || withinMs < 1 || withinMs > WAIT_MS_MAX))
    return `${wait}: withinMs is ${withinMs}; use 1 to ${WAIT_MS_MAX} milliseconds`;
  if (place === 'after' && withinMs !== null)
    return `${wait} with withinMs after the pivot; the saga cannot turn back there, so remove withinMs or move it before the pivot`;
  if (place === 'after' && refusal !== null)
    return `${wait} with refusal after the pivot; the saga cannot turn back there, so move it before the pivot`;
  if (place !== 'after' && withinMs === null)
    return `${wait} without withinMs before the pivot; a saga that may be taken back needs a time limit, so add withinMs`;
  return undefined;
}
