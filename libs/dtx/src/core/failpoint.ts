import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { OptionsError, OutcomeUnknown } from './errors/errors.js';

/** The role of a process in a scheme. */
export type Role = 'sender' | 'receiver' | 'initiator' | 'participant' | 'service';

/**
 * A named place where a process can be made to die, stop or fail, to test the protocol there. A failpoint stands after
 * an awaited durable effect. In Node, a crash right after `publish()` tests nothing, because the bytes have not left
 * the process.
 */
export interface Failpoint {
  readonly name: string;
  readonly scheme: string;
  /** The step number of the protocol, as in the header of the file that holds the failpoint. */
  readonly step: number;
  /** The role of the process that reaches the failpoint. */
  readonly role: Role;
  /** The durable state if the process dies here. */
  readonly disk: string;
  /** The component that completes the work after the crash. */
  readonly finisher: string;
}

type Action = { kind: 'crash' | 'pause' | 'error' | 'lost' } | { kind: 'delay'; ms: number };
interface Armed {
  readonly action: Action;
  hitsLeft: number;
}

const registry = new Map<string, Failpoint>();
/**
 * The parse error of `DTX_FAILPOINTS`. `checkFailpoints` throws it at start, because a throw at module load would print
 * a stack trace.
 */
let unreadable: unknown;
const armed = readEnvironment();
const isArmed = armed.size > 0;

/** Declares a failpoint. Each scheme keeps its failpoints in one file. @throws OptionsError for a duplicate name */
export function defineFailpoint(point: Failpoint): Failpoint {
  if (registry.has(point.name))
    throw new OptionsError(`failpoint ${point.name} is defined twice; give each failpoint a unique name`);
  registry.set(point.name, point);
  return point;
}

/**
 * Returns every failpoint of the loaded schemes, in the order of definition.
 * @example
 *   allFailpoints().map(({ name, role }) => `${name} (${role})`);
 */
export function allFailpoints(): Failpoint[] {
  return [...registry.values()];
}

/**
 * Checks `DTX_FAILPOINTS` at start.
 * @throws OptionsError for unreadable text, for an unknown failpoint name, and for any value with NODE_ENV=production
 */
export function checkFailpoints(): void {
  if (unreadable) throw unreadable;
  if (!isArmed) return;
  if (process.env.NODE_ENV === 'production')
    throw new OptionsError('DTX_FAILPOINTS is refused with NODE_ENV=production');
  for (const name of armed.keys()) {
    if (!registry.has(name))
      throw new OptionsError(`DTX_FAILPOINTS: unknown failpoint ${name}; no loaded scheme defines it`);
  }
}

/**
 * Runs a step, then the failpoint. A disarmed failpoint costs one boolean. `error` fails without running the step.
 * `lost` runs the step and then reports a failure. The other actions follow the step.
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

/** Writes the hit synchronously before the action, so that a test sees the hits of a process that died. */
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

/** Parses `name=crash;other=1*delay(500)`. Exported for its unit test. @throws OptionsError */
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
