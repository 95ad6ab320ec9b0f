import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { OptionsError, OutcomeUnknown } from './errors/errors.js';

/** The part that a process plays in a scheme. */
export type Role = 'sender' | 'receiver' | 'initiator' | 'participant' | 'service';

/**
 * A named place where a process may be made to die, stop or fail, to show that the protocol holds there. It stands
 * after an awaited durable effect: in Node a crash behind a bare `publish()` tests nothing, the bytes have not left.
 */
export interface Failpoint {
  readonly name: string;
  readonly scheme: string;
  /** The step of the scheme's protocol, as numbered in the header of the file that holds the point. */
  readonly step: number;
  /** The part that a process plays in the scheme when it meets the point. */
  readonly role: Role;
  /** What is true on disk when a process dies here. */
  readonly disk: string;
  /** Who finishes the work. */
  readonly finisher: string;
}

type Action = { kind: 'crash' | 'pause' | 'error' | 'lost' } | { kind: 'delay'; ms: number };
interface Armed {
  readonly action: Action;
  hitsLeft: number;
}

const registry = new Map<string, Failpoint>();
/** Kept until the check at start: thrown while modules load, it would be a stack trace instead of one line. */
let unreadable: unknown;
const armed = readEnvironment();
const isArmed = armed.size > 0;

/** Declares a failpoint; each scheme keeps its own in one file. */
export function defineFailpoint(point: Failpoint): Failpoint {
  if (registry.has(point.name)) throw new OptionsError(`failpoint ${point.name} is defined twice`);
  registry.set(point.name, point);
  return point;
}

/** Every failpoint of the schemes that are loaded, in the order of their definition. */
export function allFailpoints(): Failpoint[] {
  return [...registry.values()];
}

/** Refuses, at start, what cannot be read, an armed process in production and a name that no failpoint has. */
export function checkFailpoints(): void {
  if (unreadable) throw unreadable;
  if (!isArmed) return;
  if (process.env.NODE_ENV === 'production')
    throw new OptionsError('DTX_FAILPOINTS is refused with NODE_ENV=production');
  for (const name of armed.keys()) {
    if (!registry.has(name)) throw new OptionsError(`DTX_FAILPOINTS names ${name}, which no loaded scheme has`);
  }
}

/**
 * Runs a step, then the point. Disarmed it costs one boolean. `error` fails without doing the step, `lost` does it and
 * then reports failure, the others act after it.
 * @throws OutcomeUnknown when armed with `error` or `lost`
 */
export function failpoint<T>(point: Failpoint | undefined, step: () => Promise<T>): Promise<T> {
  return isArmed && point && armed.has(point.name) ? act(point.name, step) : step();
}

async function act<T>(name: string, step: () => Promise<T>): Promise<T> {
  const entry = armed.get(name)!;
  if (entry.hitsLeft <= 0) return step();
  if (entry.action.kind === 'error') {
    record(name, entry);
    throw new OutcomeUnknown(`failpoint ${name}: error`);
  }
  const result = await step();
  if (entry.hitsLeft <= 0) return result;
  record(name, entry);
  switch (entry.action.kind) {
    case 'crash':
      process.kill(process.pid, 'SIGKILL');
      return new Promise<never>(() => {});
    case 'pause':
      process.kill(process.pid, 'SIGSTOP');
      return result;
    case 'delay':
      await sleep(entry.action.ms);
      return result;
    default:
      throw new OutcomeUnknown(`failpoint ${name}: lost`);
  }
}

/** Written synchronously before the action, so that a test can tell that the point was reached by a process that died. */
function record(name: string, entry: Armed): void {
  entry.hitsLeft -= 1;
  const file = process.env.DTX_FAILPOINT_LOG;
  if (file)
    appendFileSync(file, `${JSON.stringify({ name, action: entry.action.kind, pid: process.pid, at: Date.now() })}\n`);
}

function readEnvironment(): Map<string, Armed> {
  try {
    return parseFailpoints(process.env.DTX_FAILPOINTS);
  } catch (error) {
    unreadable = error;
    return new Map();
  }
}

/** Reads `name=crash;other=1*delay(500)`. Exported for its own test. */
export function parseFailpoints(text: string | undefined): Map<string, Armed> {
  const found = new Map<string, Armed>();
  for (const part of (text ?? '').split(';').map((s) => s.trim())) {
    if (part === '') continue;
    const match = /^([a-z0-9.-]+)=(?:(\d+)\*)?(crash|pause|error|lost|delay\((\d+)\))$/.exec(part);
    if (!match)
      throw new OptionsError(
        `DTX_FAILPOINTS: cannot read ${JSON.stringify(part)}; expected name=[N*]crash|pause|error|lost|delay(ms)`,
      );
    const [, name, count, kind, ms] = match;
    const action: Action = ms === undefined ? { kind: kind as 'crash' } : { kind: 'delay', ms: Number(ms) };
    found.set(name!, { action, hitsLeft: count === undefined ? Number.POSITIVE_INFINITY : Number(count) });
  }
  return found;
}
