// The lab for apps that run elsewhere (in containers). It buys, compares and audits. It cannot end an app, so it breaks nothing.
// Its environment: sandbox/apps-elsewhere.ts, DTX_ADMIN_TOKEN or DTX_ADMIN_TOKEN_FILE, DTX_LAB_PORT, DTX_LAB_TOKEN.
// DTX_LAB_HOST=0.0.0.0 is for a container, whose port is published on 127.0.0.1 of the machine.
import { readFileSync } from 'node:fs';
import { runCommand } from '../cli/command-options-and-exit.js';
import { messageOf } from '../cli/error-text.js';
import { firstSignal } from '../cli/first-signal.js';
import { OperatorError } from '../cli/operator-error.js';
import { appsElsewhere } from '../sandbox/apps-elsewhere.js';
import { untilReady } from '../shop/app-calls.js';
import { fillSupplies } from '../shop/supplies.js';
import type { Lab } from './lab/lab.js';
import { startLab } from './lab/lab-settings.js';
import type { LabTarget } from './lab/target.js';

const READY_BOUND_MS = 120_000;
const say = (line: string) => console.log(line);

async function main(): Promise<number> {
  const interrupt = firstSignal({ say });
  const { urls, sandbox } = await appsElsewhere('lab');
  const adminToken = readAdminToken();
  const { lab } = await startLab({ say, host: process.env.DTX_LAB_HOST || undefined });
  try {
    return await Promise.race([serve(lab, { urls, sandbox, adminToken }), interrupt.happened.then(() => 0)]);
  } finally {
    await lab.close();
  }
}

/** Serves until a signal. */
async function serve(lab: Lab, target: Omit<LabTarget, 'processes'>): Promise<number> {
  const { urls } = target;
  for (const [app, url] of Object.entries(urls)) {
    const failure = await untilReady(url, { boundMs: READY_BOUND_MS });
    if (failure)
      throw new OperatorError(`the ${app} app at ${url} was not ready after ${READY_BOUND_MS / 1_000} s: ${failure}`);
  }
  // Only what is missing, since the scenario may be buying at the same time.
  for (const sku of ['book', 'mug']) await fillSupplies(urls, { buyerId: 'alice', sku, quantity: 1 }, { say });
  lab.serve({ ...target, processes: null });
  say('serving until Ctrl-C');
  return new Promise(() => {});
}

function readAdminToken(): string {
  const { DTX_ADMIN_TOKEN: given, DTX_ADMIN_TOKEN_FILE: file } = process.env;
  if (given) return given;
  if (!file) throw new OperatorError('set DTX_ADMIN_TOKEN or DTX_ADMIN_TOKEN_FILE to the admin token of the apps');
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new OperatorError(`DTX_ADMIN_TOKEN_FILE cannot be read: ${messageOf(error)}`);
  }
}

await runCommand(main);
