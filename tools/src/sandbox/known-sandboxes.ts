// Which sandboxes exist: that of the demo, and those that the tests have registered.
import { join } from 'node:path';
import { OperatorError } from '../cli/operator-error.js';
import { makePrivateDir, placeOf, readJson, writeJson } from '../infra-files.js';
import type { Sandbox } from './sandbox.js';

/** The sets of servers that have sandboxes. */
export const SETS = ['demo', 'test'] as const;
export type SetName = (typeof SETS)[number];

/** The sets that `--of` asks for: all of them by default. */
export function setsOf(of: string | undefined): readonly SetName[] {
  if (of === undefined) return SETS;
  const known = SETS.find((one) => one === of);
  if (!known) throw new OperatorError(`unknown set "${of}": --of takes ${SETS.join(' or ')}`);
  return [known];
}

const demoFile = () => join(placeOf('demo'), 'sandbox.json');

/** Where the test support writes the list of sandboxes that are to be audited. */
export const testSandboxesFile = (): string => join(placeOf('test'), 'sandboxes.json');

/** Remembered beside the servers, so that audit and trace find the sandbox when the demo is down. */
export function rememberDemoSandbox(sandbox: Sandbox): void {
  makePrivateDir(placeOf('demo'));
  writeJson(demoFile(), sandbox);
}

/** The sandboxes of a set with the addresses that they had when they were made. */
export function knownSandboxes(of: SetName): Sandbox[] {
  if (of === 'test') return readJson<Sandbox[]>(testSandboxesFile()) ?? [];
  const sandbox = readJson<Sandbox>(demoFile());
  return sandbox ? [sandbox] : [];
}
