// --shrink: replays ever smaller parts of a schedule that breaks something, and says what the smallest one breaks.
import { Interrupted, OperatorError } from '../../cli/operator-error.js';
import type { Say } from '../../cli/say-type.js';
import { oneOfEach } from './broken-invariants.js';
import type { Finding } from './history.js';
import { commandOf, type Settings } from './settings.js';
import { type Shrunk, shrink } from './shrink.js';

const REPLAYS_MAX = 40;
/** A replay goes to the one that does not hold the smallest failure, so that its purchase can be traced. */
const SANDBOXES = ['chaos', 'chaos_replay'] as const;

/** One play of a part of the schedule. */
export interface Play {
  /** The numbers of the steps that were played. */
  readonly steps: readonly number[];
  readonly broken: readonly Finding[];
}

interface ShrinkRunOptions<P extends Play> {
  readonly say: Say;
  readonly settings: Settings;
  /** @param sandbox the name of the sandbox that is made anew for it */
  play(only: readonly number[] | undefined, sandbox: string): Promise<P>;
  /** Makes its sandbox the one that `npm run trace -- --of chaos` reads. */
  show(play: P): void;
}

/** Returns the exit code: 0 if the whole schedule holds. */
export async function shrinkRun<P extends Play>({ say, settings, play, show }: ShrinkRunOptions<P>): Promise<number> {
  let kept: string = SANDBOXES[0];
  const whole = await play(settings.only, kept);
  let smallest = whole;
  if (whole.broken.length === 0) {
    say('nothing to shrink: every invariant holds. A run is not deterministic, so it may break at another time');
    return 0;
  }
  const isBroken = async (part: readonly number[]): Promise<boolean> => {
    const sandbox = SANDBOXES.find((one) => one !== kept)!;
    say(`\nreplay of ${part.length} of ${whole.steps.length} steps: ${part.join(', ') || 'none'}`);
    const played = await play(part, sandbox).catch((error: unknown) => {
      // Servers or apps did not start. The smallest failure so far must not be lost by it.
      if (!(error instanceof OperatorError) || error instanceof Interrupted) throw error;
      say(`this replay says nothing: ${error.message}`);
      return null;
    });
    if (played === null || played.broken.length === 0) return false;
    kept = sandbox;
    smallest = played;
    return true;
  };
  const shrunk = await shrink(whole.steps, { isBroken, replaysMax: REPLAYS_MAX });
  show(smallest);
  say(shrunkLines(settings, shrunk, smallest.broken).join('\n'));
  return 1;
}

/** The shortest account of a failure: the steps, the invariants, and a purchase to trace for each. */
export function shrunkLines(
  settings: Settings,
  { smallest, replays, isMinimal }: Shrunk<number>,
  broken: readonly Finding[],
): string[] {
  const found = oneOfEach(broken).flatMap(({ invariant, text, orderId }) => [
    `  ${invariant}: ${text}`,
    ...(orderId === undefined ? [] : [`    npm run trace -- ${orderId} --of chaos`]),
  ]);
  const doubt = isMinimal ? 'each part of one step less has held once' : `the ${replays} replays are used up`;
  return [
    `\nthe smallest part that breaks has ${smallest.length} step${smallest.length === 1 ? '' : 's'} (${replays} replays, ${doubt}):`,
    `  ${commandOf(settings, smallest)}`,
    'it breaks:',
    ...found,
  ];
}
