import { once } from 'node:events';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';
import { sql } from '../fixtures/sandbox.js';
import { spawnForFile } from '../fixtures/spawned-processes.js';
import { until } from '../fixtures/until.js';
import {
  cancelOfSent,
  cancelWithoutPlace,
  claimsUndue,
  looksAtUndue,
  neverWaits,
  sleepsOn,
  stepOfWithdrawn,
} from './delayed-message.mutants.js';
import type { Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';

const SCRIPT = join(ROOT, 'test', 'crash-matrix', 'delayed-message-app.mjs');
const GID = 'delayed';
/** Far below the interval of the scans in the task `seldom`, and far above the delay. */
const PROMPT_MS = 20_000;

const start = ({ root, sandbox }: Stage, task: string) =>
  spawnForFile(process.execPath, [SCRIPT, root, sandbox.databases.order, sandbox.rabbitmq, GID, task], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });

async function run(stage: Stage, task: string): Promise<void> {
  const child = start(stage, task);
  const [code] = await once(child, 'exit');
  expect([task, code]).toEqual([task, 0]);
}

async function withEffects({ sandbox }: Stage): Promise<() => Promise<number>> {
  await sql(
    sandbox,
    'order',
    'CREATE TABLE effect (id INT AUTO_INCREMENT PRIMARY KEY, gid VARCHAR(64), what VARCHAR(100))',
  );
  return async () => (await sql(sandbox, 'order', 'SELECT id FROM effect WHERE gid = ?', [GID])).length;
}

export const delayedMessageScenarios: Scenario[] = [
  {
    promise: 'a message in the queue of its consumer is withdrawn or handled, never both',
    mutants: [cancelWithoutPlace, cancelOfSent, stepOfWithdrawn],
    play: async (stage) => {
      const effects = await withEffects(stage);
      await run(stage, 'late');
      // Another message of the queue is handled behind the withdrawn one.
      await run(stage, 'far');
      return async () => expect(await effects(), 'effects of a message that was withdrawn').toBe(1);
    },
  },
  {
    promise: 'a message is not sent before it is due',
    mutants: [neverWaits],
    pair: [claimsUndue, looksAtUndue],
    play: async (stage) => {
      const effects = await withEffects(stage);
      await run(stage, 'far');
      return async () => expect(await effects(), 'effects of a message that is not due').toBe(0);
    },
  },
  {
    promise: 'an idle loop sends a message when it is due',
    mutants: [sleepsOn],
    play: async (stage) => {
      const effects = await withEffects(stage);
      const app = start(stage, 'seldom');
      stage.keep({ close: async () => void app.kill('SIGKILL') });
      return async () => {
        const isHandled = async () => (await effects()) === 1;
        await until('the message is handled when it is due', isHandled, { withinMs: PROMPT_MS });
      };
    },
  },
];
