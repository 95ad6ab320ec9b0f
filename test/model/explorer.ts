// Visits every state that a model can reach, by the shortest way. A state is reached by repeating the choices that lead to
// it from the start, since a running function cannot be copied.
import { createHash } from 'node:crypto';
import type { World } from './world.js';

export interface Model {
  readonly name: string;
  /** A world at its start. */
  begin(): World;
  /** The broken rule in this state, or undefined. */
  wrong(world: World): string | undefined;
  /** The broken rule of a state in which nothing has to happen any more, or undefined. */
  wrongAtEnd(world: World): string | undefined;
}

export interface Exploration {
  readonly states: number;
  /** States in which nothing has to happen any more. */
  readonly ends: number;
  /** The shortest way to a state that breaks the model, in words. */
  readonly violation?: { readonly what: string; readonly trace: readonly string[] };
}

/** The shortest way to a state: its last choice, and the state before it. None before the first. */
interface Way {
  readonly before: State | undefined;
  readonly choice: string;
}

interface State extends Way {
  /** All that may happen next. */
  readonly choices: readonly string[];
  /** The states from which it is reached without a fault. */
  readonly sources: State[];
  readonly isEnd: boolean;
}

interface Wrong {
  readonly what: string;
  readonly way: Way;
}

export interface Bounds {
  readonly statesMax: number;
  /** Of this process, so that a busy machine does not end an exploration. */
  readonly cpuSecondsMax: number;
}

/** Beyond these the model is too large to be one. */
const BOUNDS: Bounds = { statesMax: 100_000, cpuSecondsMax: 120 };

/**
 * All states, or those up to the first wrong one. A state from which no way leads to an end is wrong as well.
 * @throws Error for a model beyond its bounds, since a test timeout cannot end a loop of microtasks
 */
export async function explore(model: Model, bounds = BOUNDS): Promise<Exploration> {
  const known = new Map<string, State>();
  const wrong = (await visitAll(model, known, bounds)) ?? withoutEnd(known);
  const ends = [...known.values()].filter(({ isEnd }) => isEnd).length;
  const found = { states: known.size, ends };
  return wrong ? { ...found, violation: { what: wrong.what, trace: await tell(model, wrong.way) } } : found;
}

async function visitAll(model: Model, known: Map<string, State>, bounds: Bounds): Promise<Wrong | undefined> {
  const check = checkOf(model, bounds);
  const first = await follow(model, undefined);
  let open = [stateOf(first, { before: undefined, choice: '' })];
  while (open.length > 0) {
    const next: State[] = [];
    for (const before of open) {
      for (const choice of before.choices) {
        await check(known.size);
        const way = { before, choice };
        const world = await follow(model, way);
        const what = wrongIn(model, world);
        if (what !== undefined) return { what, way };
        const key = createHash('md5').update(world.key()).digest('base64');
        const state = known.get(key) ?? stateOf(world, way);
        if (!/^(fault|crash|accident) /.test(choice)) state.sources.push(before);
        if (known.has(key)) continue;
        known.set(key, state);
        next.push(state);
      }
    }
    open = next;
  }
  return undefined;
}

function stateOf(world: World, way: Way): State {
  return { ...way, choices: world.choices(), sources: [], isEnd: world.isAtEnd };
}

/** The first state from which the processes go round without end, although nothing fails any more. */
function withoutEnd(known: ReadonlyMap<string, State>): Wrong | undefined {
  const canEnd = new Set([...known.values()].filter(({ isEnd }) => isEnd));
  // A loop over a set also visits members that are added meanwhile.
  for (const { sources } of canEnd) for (const source of sources) canEnd.add(source);
  const way = [...known.values()].find((state) => !canEnd.has(state));
  return way && { what: 'the processes go on without end', way };
}

/** Between two ways the timers of the process run, such as the test timeout. */
function checkOf({ name }: Model, { statesMax, cpuSecondsMax }: Bounds): (states: number) => Promise<void> {
  const since = process.cpuUsage();
  return async (states) => {
    const { user, system } = process.cpuUsage(since);
    const isTooLong = user + system > cpuSecondsMax * 1e6;
    if (states > statesMax || isTooLong) {
      const bound = isTooLong ? `${cpuSecondsMax} seconds of CPU` : `${statesMax} states`;
      throw new Error(`${name} has no end within ${bound} (${states} states): it needs fewer processes or faults`);
    }
    await new Promise(setImmediate);
  };
}

function wrongIn(model: Model, world: World): string | undefined {
  return world.failure ?? model.wrong(world) ?? (world.isAtEnd ? model.wrongAtEnd(world) : undefined);
}

function choicesOf(way: Way | undefined): string[] {
  const choices: string[] = [];
  for (let at = way; at?.before; at = at.before) choices.push(at.choice);
  return choices.reverse();
}

async function follow(model: Model, way: Way | undefined, tell?: (label: string) => void): Promise<World> {
  const world = model.begin();
  await world.settled();
  for (const choice of choicesOf(way)) {
    const label = world.happen(choice);
    tell?.(label);
    await world.settled();
  }
  return world;
}

async function tell(model: Model, way: Way): Promise<string[]> {
  const trace: string[] = [];
  await follow(model, way, (label) => trace.push(label));
  return trace;
}
