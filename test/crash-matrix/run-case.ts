import { expect } from 'vitest';
import { AppProcess } from '../support/app-process.js';
import { call, type Purchase, type Stack } from '../support/stack.js';
import { until } from '../support/until.js';
import { sql } from '../support/world.js';
import type { Attempt, Case, Mode, Row } from './row.js';

/** Short times, so that a case takes about three seconds; the victim's heartbeat lets the broker notice a paused one. */
export const SHORT_TIMES = {
  core: {
    leaseMs: 700,
    scanIntervalMs: 100,
    publishTimeoutMs: 2_000,
    reconnect: { firstMs: 50, factor: 2, capMs: 500 },
    inbox: { attemptsMax: 50, backoff: { firstMs: 100, factor: 1.5, capMs: 500 } },
  },
  localMessage: { resend: { firstMs: 900, factor: 1.5, capMs: 3_000 }, attemptsMax: 100, markDelayMs: 1 },
};

const TRIES_MAX = 12;
const ACTIONS: Record<Mode, string> = {
  crash: 'crash',
  'pause, recover, kill': 'pause',
  'pause, recover, continue': 'pause',
  error: 'error',
  lost: 'lost',
};

/** The times of the instances that recover. They may differ from the victim's in the heartbeat only. */
function victimOptions(row: Row): Record<string, unknown> {
  const { core, localMessage } = SHORT_TIMES;
  return {
    core: { ...core, heartbeatSeconds: 1, ...row.options?.core },
    localMessage: { ...localMessage, ...row.options?.localMessage },
  };
}

/** Plays one case: arm, trigger until the point is hit, look at the disk, let the others recover, end the victim, look again. */
export async function runCase(shop: Stack, row: Row, mode: Mode): Promise<void> {
  const armed = [row.alsoArmed, `${row.failpoint}=1*${ACTIONS[mode]}`].filter(Boolean).join(';');
  const victim = await AppProcess.start(row.app, { world: shop.world, failpoints: armed, options: victimOptions(row) });
  try {
    await shop.untilReady(victim);
    const attempts = await play({ shop, victim }, row, mode);
    for (const attempt of attempts) await healed({ shop, victim, attempt }, row);
    await victim.stop();
    for (const attempt of attempts) await exactlyOnce({ shop, victim, attempt }, row);
  } finally {
    await victim.kill();
  }
}

/** From the first purchase to the end of the victim (or its return). Answers all purchases that were made on the way. */
async function play({ shop, victim }: Omit<Case, 'attempt'>, row: Row, mode: Mode): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  let undo = await row.arrange?.(shop);
  const repair = async () => {
    const once = undo;
    undo = undefined;
    await once?.();
  };
  try {
    const attempt = await untilHit({ shop, victim, row, attempts });
    if (mode.startsWith('pause')) await whilePaused({ shop, victim, attempt }, row, repair);
    if (mode === 'crash') await victim.untilExited();
  } finally {
    await repair();
    if (mode === 'pause, recover, continue') victim.signal('SIGCONT');
    if (mode === 'pause, recover, kill') await victim.kill();
  }
  return attempts;
}

/** Deliveries go to whichever instance the broker chooses, so it takes a few purchases until the victim meets its point. */
async function untilHit(given: { shop: Stack; victim: AppProcess; row: Row; attempts: Attempt[] }): Promise<Attempt> {
  const { shop, victim, row, attempts } = given;
  const isHit = () => victim.hits().includes(row.failpoint);
  for (let tries = 1; tries <= TRIES_MAX; tries++) {
    const attempt: Attempt = { orderId: '', key: `${row.failpoint}-${victim.child.pid}-${tries}` };
    attempts.push(attempt);
    const placed = row.trigger ? row.trigger(shop) : place(shop, victim, attempt.key);
    void placed.then((id) => (attempt.orderId = id)).catch(() => {});
    const hit = await until('the point is hit, or the purchase passed by', async () => {
      if (isHit()) return 'hit';
      return (await passedBy(shop, attempt, row)) && (isHit() ? 'hit' : 'passed');
    });
    if (hit === 'hit') {
      attempt.orderId ||= await findOrderId(shop, row, attempt);
      return attempt;
    }
  }
  throw new Error(`${row.failpoint} was not reached by ${TRIES_MAX} purchases: the case proves nothing`);
}

/** To the victim where it takes orders, else to the recovering instance of the order app. */
async function place(shop: Stack, victim: AppProcess, key: string): Promise<string> {
  const target = victim.app === 'order' ? victim : shop.of('order');
  const answer = await post(target.url, key);
  return String(answer.body.orderId ?? '');
}

function post(url: string, key: string) {
  return call(`${url}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify({ buyerId: 'alice', sku: 'book', quantity: 1 }),
  });
}

/** Settled by the other instance. The victim writes its hit a moment after the row that shows it: look twice. */
async function passedBy(shop: Stack, attempt: Attempt, row: Row): Promise<boolean> {
  if (attempt.orderId === '') return false;
  if (row.passed) return (await row.passed(shop, attempt.orderId)) && (await row.passed(shop, attempt.orderId));
  const rows = await sql<{ state: string }>(shop.world, 'order', 'SELECT state FROM dtx_inbox WHERE gid = ?', [
    attempt.orderId,
  ]);
  if (!rows.some((one) => one.state === 'HANDLED')) return false;
  const open = await sql(shop.world, 'order', `SELECT id FROM dtx_outbox WHERE gid = ? AND state <> 'DONE'`, [
    attempt.orderId,
  ]);
  return open.length === 0;
}

/** The answer may be lost with the victim; its key tells what was committed. */
async function findOrderId(shop: Stack, row: Row, attempt: Attempt): Promise<string> {
  if (row.failpoint === 'local-message.appended') return '';
  return until('the key names the order', async () => {
    if (attempt.orderId) return attempt.orderId;
    const [found] = await sql<{ gid: string }>(
      shop.world,
      'order',
      'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?',
      [attempt.key],
    );
    return found?.gid;
  });
}

/** The sentence is checked, then the others must finish the work while the victim still believes that it is its own. */
async function whilePaused(at: Case, row: Row, repair: () => Promise<void>): Promise<void> {
  await row.disk(at);
  if (row.transactionOpen || row.healed) return;
  await repair();
  await at.shop.settled(at.attempt.orderId, 15_000);
}

async function healed(at: Case, row: Row): Promise<void> {
  if (row.healed) return row.healed(at);
  at.attempt.orderId = await until('the same key finds out what became of the call', async () => {
    const { status, body } = await post(at.shop.of('order').url, at.attempt.key);
    return status === 202 && String(body.orderId);
  });
  const purchase: Purchase = await at.shop.settled(at.attempt.orderId, 15_000);
  expect(purchase.status).toBe('CONFIRMED');
}

/** One effect on stock and on money, and nothing left to do. */
async function exactlyOnce({ shop, attempt }: Case, row: Row): Promise<void> {
  if (row.healed) return;
  const { world } = shop;
  const id = attempt.orderId;
  const open = async () => {
    const counts = await Promise.all(
      (['order', 'payment', 'inventory'] as const).map(async (app) => {
        const [out] = await sql<{ n: number }>(
          world,
          app,
          `SELECT COUNT(*) AS n FROM dtx_outbox WHERE gid = ? AND state <> 'DONE'`,
          [id],
        );
        const [held] = await sql<{ n: number }>(
          world,
          app,
          `SELECT COUNT(*) AS n FROM dtx_inbox WHERE gid = ? AND state <> 'HANDLED'`,
          [id],
        );
        return Number(out!.n) + Number(held!.n);
      }),
    );
    return counts.reduce((sum, n) => sum + n, 0);
  };
  await until(`every message of ${id} is done`, async () => (await open()) === 0, { withinMs: 15_000 });
  expect(await sql(world, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [id])).toEqual([
    { status: 'CAPTURED' },
  ]);
  expect(
    await sql(world, 'inventory', 'SELECT state, quantity FROM stock_take WHERE order_id = ?', [id]),
  ).toMatchObject([{ state: 'TAKEN', quantity: 1 }]);
}
