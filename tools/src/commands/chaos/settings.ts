// The command line of a run.
import { OperatorError } from '../../cli/operator-error.js';

export const USAGE = 'npm run chaos -- [--seed N] [--minutes M] [--instances I] [--only 3,7,12] [--shrink]';

export const CHAOS_OPTIONS = {
  seed: { type: 'string' },
  minutes: { type: 'string', default: '2' },
  instances: { type: 'string', default: '3' },
  only: { type: 'string' },
  shrink: { type: 'boolean', default: false },
} as const;

interface Given {
  readonly seed?: string | undefined;
  readonly minutes: string;
  readonly instances: string;
  readonly only?: string | undefined;
  readonly shrink: boolean;
}

export interface Settings {
  readonly seed: number;
  readonly minutes: number;
  readonly instances: number;
  /** The numbers of the steps to play. All without it. */
  readonly only?: readonly number[] | undefined;
  readonly shrink: boolean;
}

/** @throws OperatorError that names the option and what it takes */
export function settingsOf({ seed, minutes, instances, only, shrink }: Given): Settings {
  if (seed === undefined && (shrink || only !== undefined))
    throw new OperatorError(
      `--seed is missing: --shrink and --only need the seed of a run that broke\nusage: ${USAGE}`,
    );
  return {
    seed: seed === undefined ? Date.now() % 1_000_000 : wholeNumber('--seed', seed, 0, 2 ** 31),
    minutes: wholeNumber('--minutes', minutes, 1, 600),
    instances: wholeNumber('--instances', instances, 1, 9),
    only: only === undefined ? undefined : stepsOf(only),
    shrink,
  };
}

/** The command that plays these steps. */
export function commandOf({ seed, minutes, instances }: Settings, only?: readonly number[]): string {
  const part = only ? ` --only ${only.length > 0 ? only.join(',') : 'none'}` : '';
  return `npm run chaos -- --seed ${seed} --minutes ${minutes} --instances ${instances}${part}`;
}

/** `none` plays no step: the clients alone. */
function stepsOf(text: string): number[] {
  if (text === 'none') return [];
  const numbers = text.split(',').map((one) => wholeNumber('a step of --only', one.trim(), 1, 100_000));
  return [...new Set(numbers)].sort((a, b) => a - b);
}

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= min && number <= max) return number;
  throw new OperatorError(`${name} is "${text}": it must be a whole number from ${min} to ${max}\nusage: ${USAGE}`);
}
