// Delta debugging: finds a small part of a schedule that still breaks something, with few replays.
// Zeller, Hildebrandt: Simplifying and Isolating Failure-Inducing Input (ddmin).

interface ShrinkOptions<T> {
  /** Plays a part. A part that held once may still break at another time, because a run is not deterministic. */
  isBroken(part: readonly T[]): Promise<boolean>;
  readonly replaysMax: number;
}

export interface Shrunk<T> {
  /** The smallest part that was seen to break. It is in the order of the whole. */
  readonly smallest: readonly T[];
  readonly replays: number;
  /** Each part of one step less was played and held. False if the replays were used up before. */
  readonly isMinimal: boolean;
}

/** @param whole was seen to break. It is not played again. */
export async function shrink<T>(whole: readonly T[], { isBroken, replaysMax }: ShrinkOptions<T>): Promise<Shrunk<T>> {
  const held = new Set<string>();
  let smallest = whole;
  let replays = 0;
  const indexes = new Map(whole.map((one, index) => [one, index]));
  const keyOf = (part: readonly T[]) => part.map((one) => indexes.get(one)).join();
  const breaks = async (part: readonly T[]): Promise<boolean> => {
    if (part.length >= smallest.length || held.has(keyOf(part)) || replays >= replaysMax) return false;
    replays++;
    if (await isBroken(part)) {
      smallest = part;
      return true;
    }
    held.add(keyOf(part));
    return false;
  };

  // A failure that needs no fault at all is the shortest.
  if (whole.length > 0 && (await breaks([]))) return { smallest, replays, isMinimal: true };
  for (let count = 2; smallest.length > 1 && replays < replaysMax; ) {
    const found = await firstBroken(candidates(smallest, count), breaks);
    if (found) count = Math.max(2, found.isRest ? count - 1 : 2);
    else if (count >= smallest.length) break;
    else count = Math.min(smallest.length, count * 2);
  }
  return { smallest, replays, isMinimal: isMinimal(smallest, (part) => held.has(keyOf(part))) };
}

interface Candidate<T> {
  readonly part: readonly T[];
  /** All but one chunk. */
  readonly isRest: boolean;
}

/** Each of `count` chunks alone, then all steps but one chunk. */
function candidates<T>(whole: readonly T[], count: number): Candidate<T>[] {
  const bounds = Array.from({ length: count + 1 }, (_, n) => Math.round((n * whole.length) / count));
  const chunks = bounds.slice(1).map((end, n) => ({ begin: bounds[n]!, end }));
  const alone = chunks.map(({ begin, end }) => ({ part: whole.slice(begin, end), isRest: false }));
  const rests = chunks.map(({ begin, end }) => ({
    part: [...whole.slice(0, begin), ...whole.slice(end)],
    isRest: true,
  }));
  return count === 2 ? alone : [...alone, ...rests]; // of two chunks, each is the rest of the other
}

async function firstBroken<T>(
  parts: readonly Candidate<T>[],
  breaks: (part: readonly T[]) => Promise<boolean>,
): Promise<Candidate<T> | null> {
  for (const candidate of parts) if (await breaks(candidate.part)) return candidate;
  return null;
}

const isMinimal = <T>(part: readonly T[], hasHeld: (part: readonly T[]) => boolean) =>
  part.every((_, index) => hasHeld([...part.slice(0, index), ...part.slice(index + 1)]));
