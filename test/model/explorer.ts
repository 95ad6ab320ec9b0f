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

/** A state by its shortest way: the last choice, and the state before it. */
interface Way {
  readonly before: Way | undefined;
  readonly choice: string;
}

/** Beyond this the model is too large to be one. */
const STATES_MAX = 400_000;

/** All states, or those up to the first wrong one. @throws Error for a model with too many states */
export async function explore(model: Model): Promise<Exploration> {
  const seen = new Set<string>();
  let ends = 0;
  let ways: Array<Way | undefined> = [undefined];
  while (ways.length > 0) {
    const longer: Way[] = [];
    for (const before of ways) {
      for (const choice of (await follow(model, before)).choices()) {
        const way = { before, choice };
        const world = await follow(model, way);
        const what = wrongIn(model, world);
        if (what !== undefined) return { states: seen.size, ends, violation: { what, trace: await tell(model, way) } };
        const key = createHash('md5').update(world.key()).digest('base64');
        if (seen.has(key)) continue;
        seen.add(key);
        if (world.isAtEnd) ends++;
        longer.push(way);
      }
      if (seen.size > STATES_MAX) throw new Error(`${model.name} has more than ${STATES_MAX} states`);
    }
    ways = longer;
  }
  return { states: seen.size, ends };
}

function wrongIn(model: Model, world: World): string | undefined {
  return world.failure ?? model.wrong(world) ?? (world.isAtEnd ? model.wrongAtEnd(world) : undefined);
}

function choicesOf(way: Way | undefined): string[] {
  const choices: string[] = [];
  for (let at = way; at; at = at.before) choices.push(at.choice);
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
