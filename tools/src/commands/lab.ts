// The lab for apps that run elsewhere (in containers). It buys, compares and audits. It cannot end an app, so it breaks nothing.
// Its environment: sandbox/apps-elsewhere.ts, DTX_ADMIN_TOKEN or DTX_ADMIN_TOKEN_FILE, DTX_LAB_PORT, DTX_LAB_TOKEN.
// DTX_LAB_HOST=0.0.0.0 is for a container, whose port is published on 127.0.0.1 of the machine.
import { readFileSync } from 'node:fs';
import { runCommand } from '../cli/command-options-and-exit.js';
import { messageOf } from '../cli/error-text.js';
import { firstSignal } from '../cli/first-signal.js';
import { OperatorError } from '../cli/operator-error.js';
import { appsElsewhere } from '../sandbox/apps-elsewhere.js';
import { setTheScene } from './demo/purchases.js';
import { startLab } from './lab/lab-settings.js';

const say = (line: string) => console.log(line);

async function main(): Promise<number> {
  const { happened } = firstSignal({ say });
  const { urls, sandbox } = await appsElsewhere('lab');
  const adminToken = readAdminToken();
  const { lab } = await startLab({ say, host: process.env.DTX_LAB_HOST || undefined });
  try {
    await setTheScene(urls);
    lab.serve({ urls, sandbox, adminToken, processes: null });
    say('serving until Ctrl-C');
    await happened;
    return 0;
  } finally {
    await lab.close();
  }
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
