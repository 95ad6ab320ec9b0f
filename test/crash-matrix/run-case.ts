import { setTimeout as sleep } from 'node:timers/promises';
import { AppProcess } from '../fixtures/app-process.js';
import { type Answer, call, type Stack } from '../fixtures/stack.js';
import { until } from '../fixtures/until.js';
import { sql } from '../fixtures/world.js';
import type { Attempt, Case, Mode, Row, Scheme } from './row.js';

/** Short times, so that a case takes about three seconds; the victim's heartbeat lets the broker notice a paused one. */
export const SHORT_TIMES = {
  core: {
    leaseMs: 700,
    scanIntervalMs: 100,
    publishTimeoutMs: 2_000,
    reconnect: { firstMs: 50, factor: 2, capMs: 500 },
    inbox: { attemptsMax: 50, backoff: { firstMs: 100, factor: 1.5, capMs: 500 } },
    redis: { leaseMs: 1_000, pollMs: 50 },
  },
  // Slow enough that a busy machine makes no duplicates, which the next victim would meet instead of its own purchase.
  localMessage: { resend: { firstMs: 3_000, factor: 1.5, capMs: 5_000 }, attemptsMax: 100, markDelayMs: 1 },
  tcc: {
    // A fresh victim's first checkout takes its time on a busy machine; who waits for the deadline waits for this.
    timeoutMs: 4_000,
    callTimeoutMs: 500,
    secondPhaseWaitMs: 1_000,
    attemptsMax: 100,
    backoff: { firstMs: 100, factor: 1.5, capMs: 500 },
    markDelayMs: 1,
  },
  halfMessage: {
    levelsMs: [1_000, 1_500, 2_000],
    markDelayMs: 1,
    // The check comes first: what the sweeper does is a matter of its own rows.
    sweepAfterMs: 20_000,
    sweepBackoff: { firstMs: 100, factor: 1.5, capMs: 500 },
    attemptsMax: 100,
  },
  xa: {
    timeoutMs: 1_500,
    secondPhaseWaitMs: 1_000,
    callTimeoutMs: 1_500,
    attemptsMax: 1_000,
    backoff: { firstMs: 100, factor: 1.5, capMs: 500 },
    markDelayMs: 1,
  },
  notify: { ladderMs: Array(20).fill(200), callTimeoutMs: 500, markDelayMs: 1 },
};

/** What a paused victim holds stays its own until the disk has been looked at, on a busy machine as well. */
const HELD_MS = 6_000;
/** The others wait for that to end before they can finish. */
const RECOVERED_WITHIN_MS = 25_000;
const TRIES_MAX = 12;
const CALLS_MAX = 10;
const CALL_AGAIN_MS = 200;
const PASSED_LOOKS = 6;
const PASSED_LOOK_EVERY_MS = 25;
const WANTED = { buyerId: 'alice', sku: 'book', quantity: 1 };
const ACTIONS: Record<Mode, string> = {
  crash: 'crash',
  'pause, recover, kill': 'pause',
  'pause, recover, continue': 'pause',
  error: 'error',
  lost: 'lost',
};

/** One case of the matrix, as it is to be played. */
interface Play {
  readonly shop: Stack;
  readonly scheme: Scheme;
  readonly row: Row;
  readonly mode: Mode;
}

/** The times of the instances that recover, but for the heartbeat, a paused one's leases, and the row's own. */
function victimOptions({ row, mode }: Play): Record<string, unknown> {
  const { core, localMessage, tcc, halfMessage, xa, notify } = SHORT_TIMES;
  const held = { leaseMs: HELD_MS, redis: { ...core.redis, leaseMs: HELD_MS } };
  return {
    core: { ...core, heartbeatSeconds: 1, ...(mode.startsWith('pause') ? held : {}), ...row.options?.core },
    localMessage: { ...localMessage, ...row.options?.localMessage },
    tcc: { ...tcc, ...row.options?.tcc },
    halfMessage: { ...halfMessage, ...row.options?.halfMessage },
    xa: { ...xa, ...row.options?.xa },
    notify: { ...notify, ...row.options?.notify },
  };
}

/** Plays one case: arm, trigger until the point is hit, look at the disk, let the others recover, end the victim, look again. */
export async function runCase(play: Play): Promise<void> {
  const { shop, scheme, row, mode } = play;
  const armed = [row.alsoArmed, `${row.failpoint}=1*${ACTIONS[mode]}`].filter(Boolean).join(';');
  const options = victimOptions(play);
  const victim = await AppProcess.start(row.app, { world: shop.world, failpoints: armed, options, env: scheme.env });
  try {
    await shop.untilReady(victim);
    const attempts = await toTheEnd(play, victim);
    const met = attempts.at(-1)!;
    const cases: Case[] = attempts.map((attempt) => ({ shop, mode, victim, attempt, met }));
    for (const one of cases) await (row.healed?.(one) ?? scheme.healed(one, row));
    await victim.stop();
    if (!row.healed) for (const one of cases) await scheme.exactlyOnce(one, row);
  } finally {
    await victim.kill();
  }
}

/** From the first purchase to the end of the victim (or its return). Answers all purchases that were made on the way. */
async function toTheEnd(play: Play, victim: AppProcess): Promise<Attempt[]> {
  const { shop, row, mode } = play;
  const attempts: Attempt[] = [];
  let undo = await row.arrange?.(shop);
  const repair = async () => {
    const once = undo;
    undo = undefined;
    await once?.();
  };
  try {
    const attempt = await untilHit(play, victim, attempts);
    if (mode.startsWith('pause')) await whilePaused({ shop, mode, victim, attempt, met: attempt }, row, repair);
    if (mode === 'crash') await victim.untilExited();
  } finally {
    await repair();
    if (mode === 'pause, recover, continue') victim.signal('SIGCONT');
    if (mode === 'pause, recover, kill') await victim.kill();
  }
  return attempts;
}

/** Deliveries go to whichever instance the broker chooses, so it takes a few purchases until the victim meets its point. */
async function untilHit(play: Play, victim: AppProcess, attempts: Attempt[]): Promise<Attempt> {
  const { shop, row } = play;
  const isHit = () => isAtPoint(play, victim);
  for (let tries = 1; tries <= TRIES_MAX; tries++) {
    const attempt: Attempt = { orderId: '', key: `${row.failpoint}-${victim.child.pid}-${tries}` };
    attempts.push(attempt);
    let isAnswered = false;
    const placed = row.trigger ? row.trigger(shop) : place(play, victim, attempt);
    void placed
      // A call that came back with an error names none; by then the key may have.
      .then((id) => (attempt.orderId = id || attempt.orderId))
      .catch(() => {})
      .finally(() => (isAnswered = true));
    const hit = await until('the point is hit, or the purchase passed by', async () => {
      if (isHit()) return 'hit';
      if (isAnswered && !row.unknownYet) attempt.orderId ||= (await idOfKey(play, attempt)) ?? '';
      return (await passedBy(play, attempt, isHit)) && (isHit() ? 'hit' : 'passed');
    });
    if (hit === 'passed') await row.beforeNext?.(shop);
    if (hit === 'hit') {
      // A call that is answered with an error finds its order by its key, later.
      const isNeeded = play.mode.startsWith('pause') || row.trigger;
      if (isNeeded && !row.unknownYet) attempt.orderId ||= await findOrderId(play, attempt);
      return attempt;
    }
  }
  throw new Error(`${row.failpoint} was not reached by ${TRIES_MAX} purchases: the case proves nothing`);
}

const isAtPoint = ({ row }: Play, victim: AppProcess) => victim.hits().includes(row.failpoint);

/**
 * To the victim where it is to meet the point as the caller's app, else to the recovering instance. A 503 that is not
 * the point's doing and has left no key is a call that came to nothing, as happens on a busy machine: it is made again.
 */
async function place(play: Play, victim: AppProcess, attempt: Attempt): Promise<string> {
  const { shop, scheme, row } = play;
  const target = victim.app === scheme.app && !row.receives ? victim : shop.of(scheme.app);
  for (let calls = 1; ; calls++) {
    const { status, body } = await post(target.url, scheme, { key: attempt.key, wanted: row.wanted });
    if (status !== 503 || calls === CALLS_MAX) return String(body.orderId ?? '');
    await sleep(CALL_AGAIN_MS);
    if (isAtPoint(play, victim) || (await idOfKey(play, attempt))) return '';
  }
}

/** The call of a scheme, with the key that tells one from its repetition. */
export function post(
  url: string,
  { path }: Scheme,
  { key, wanted = WANTED }: { key: string; wanted?: Row['wanted'] },
): Promise<Answer> {
  return call(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify(wanted),
  });
}

/**
 * Over without the victim. It writes its hit a moment after the row that shows it, and on a busy machine a moment is long:
 * what was over at one look has to be so at all of them, or the next purchase is taken for the one that was hit.
 */
async function passedBy({ shop, scheme, row }: Play, { orderId }: Attempt, isHit: () => boolean): Promise<boolean> {
  if (orderId === '') return false;
  for (let look = 1; look <= PASSED_LOOKS && !isHit(); look++) {
    if (!(await (row.passed?.(shop, orderId) ?? scheme.passed(shop, orderId)))) return false;
    if (look < PASSED_LOOKS) await sleep(PASSED_LOOK_EVERY_MS);
  }
  return true;
}

/** The answer may be lost with the victim; its key tells what was committed. */
async function findOrderId(play: Play, attempt: Attempt): Promise<string> {
  return until('the key names the order', async () => attempt.orderId || (await idOfKey(play, attempt)));
}

async function idOfKey({ shop, scheme }: Play, { key }: Attempt): Promise<string | undefined> {
  const query = 'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?';
  const [found] = await sql<{ gid: string }>(shop.world, scheme.app, query, [key]);
  return found?.gid;
}

/** The sentence is checked, then the others must finish the work while the victim still believes that it is its own. */
async function whilePaused(at: Case, row: Row, repair: () => Promise<void>): Promise<void> {
  await row.disk(at);
  await row.recovered?.(at);
  if (row.recovered || row.transactionOpen || row.healed) return;
  await repair();
  await at.shop.settled(at.attempt.orderId, RECOVERED_WITHIN_MS);
}
