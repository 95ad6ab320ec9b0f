// Which sandboxes exist: those of the demo and of the last chaos run, and those that the tests have registered.
import { join } from 'node:path';
import { OperatorError } from '../cli/operator-error.js';
import { makePrivateDir, placeOf, readJson, writeJson } from '../infra-files.js';
import type { Sandbox } from './sandbox.js';

/** The sets of servers that have sandboxes. */
export const SETS = ['demo', 'test', 'chaos'] as const;
export type SetName = (typeof SETS)[number];

/** The sets that `--of` asks for. By default all but that of the last chaos run. */
export function setsOf(of: string | undefined): readonly SetName[] {
  if (of === undefined) return ['demo', 'test'];
  const known = SETS.find((one) => one === of);
  if (!known) throw new OperatorError(`unknown set "${of}": --of takes ${SETS.join(', ')}`);
  return [known];
}

const fileOf = (of: 'demo' | 'chaos') => join(placeOf(of), 'sandbox.json');

/** Where the test support writes the list of sandboxes that are to be audited. */
export const testSandboxesFile = (): string => join(placeOf('test'), 'sandboxes.json');

/** Remembered beside the servers, so that audit and trace find the sandbox when its servers are down. */
export function rememberSandbox(of: 'demo' | 'chaos', sandbox: Sandbox): void {
  makePrivateDir(placeOf(of));
  writeJson(fileOf(of), sandbox);
}

/** The sandboxes of a set with the addresses that they had when they were made. */
export function knownSandboxes(of: SetName): Sandbox[] {
  if (of === 'test') return readJson<Sandbox[]>(testSandboxesFile()) ?? [];
  const sandbox = readJson<Sandbox>(fileOf(of));
  return sandbox ? [sandbox] : [];
}
