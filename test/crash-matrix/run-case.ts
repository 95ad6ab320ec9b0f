import { AppProcess } from '../fixtures/app-process.js';
import { until } from '../fixtures/until.js';
import { idOfKey, isAtPoint, place } from './case-calls.js';
import type { Case, Mode, Row } from './matrix-types.js';
import { setAside } from './set-aside-warm-instances.js';
import { SHORT_TIMES } from './short-times.js';

/** The claim of a paused victim in Redis does not expire before the disk has been looked at, even on a busy machine. */
const REDIS_LEASE_MS = 6_000;
/** Beyond the bounds of the start itself, whose error says more. */
const CASE_STARTS_MS = 110_000;
/** Includes the time until the leases of a paused victim have expired. */
const RECOVERED_WITHIN_MS = 25_000;
const ACTIONS: Record<Mode, string> = {
  crash: 'crash',
  'pause, recover, kill': 'pause',
  'pause, recover, continue': 'pause',
  error: 'error',
  lost: 'lost',
};

/** One case of the matrix before its victim has started. */
type Play = Omit<Case, 'victim' | 'attempt'>;

/**
 * Plays one case. The warm instance of the victim's app is set aside until the victim has reached its failpoint, so all
 * work of the app is routed to the victim. Then the disk is looked at, the warm instance recovers, the victim ends, and
 * the outcome is proved.
 */
export async function runCase(play: Play): Promise<void> {
  const { victim, goOn } = await startVictim(play);
  try {
    await playOut({ ...play, victim }, goOn).finally(() => victim.kill());
  } finally {
    goOn();
  }
}

async function playOut(play: Omit<Case, 'attempt'>, goOn: () => void): Promise<void> {
  const { scheme, row, victim } = play;
  const attempt = { orderId: '', key: `${row.failpoint}-${victim.child.pid}` };
  const at: Case = { ...play, attempt };
  const proof = row.proof ?? scheme;
  await breakAndRecover(at, goOn);
  await proof.healed(at);
  await victim.stop();
  await proof.exactlyOnce?.(at);
}

/** Each late message of the case before spends one victim. There are few. */
const VICTIMS_MAX = 5;

/**
 * Starts a victim that is ready and has its failpoint before it. A late message of the case before, such as the receipt
 * of a resend, may take a victim to its failpoint before the call. Such a victim is replaced, after the warm instance has
 * taken the message.
 */
async function startVictim(play: Play): Promise<{ victim: AppProcess; goOn: () => void }> {
  for (let count = 1; count <= VICTIMS_MAX; count++) {
    const goOn = await setAside(play.shop, play.row.app);
    const victim = spawnVictim(play);
    try {
      if (await isReadyUnspent(play, victim)) return { victim, goOn };
    } catch (error) {
      goOn();
      throw error;
    }
    await victim.kill();
    goOn();
  }
  throw new Error(`${VICTIMS_MAX} victims were at ${play.row.failpoint} before the call; the case before still works`);
}

function spawnVictim({ shop, scheme, row, mode }: Play): AppProcess {
  const failpoints = [row.alsoArmed, `${row.failpoint}=1*${ACTIONS[mode]}`].filter(Boolean).join(';');
  const options = victimOptions(row, mode);
  return AppProcess.spawn(row.app, { sandbox: shop.sandbox, failpoints, options, env: scheme.env });
}

/** False as soon as the victim is at its failpoint, which may have stopped or ended it. */
async function isReadyUnspent({ shop, row }: Play, victim: AppProcess): Promise<boolean> {
  const isSpent = () => victim.hits().includes(row.failpoint);
  let outcome: { error?: unknown } | undefined;
  const started = victim.untilListening().then(() => shop.untilReady(victim));
  started.then(
    () => (outcome = {}),
    (error: unknown) => (outcome = { error }),
  );
  await until(`${row.app} is ready, or at ${row.failpoint}`, () => isSpent() || outcome, { withinMs: CASE_STARTS_MS });
  if (isSpent()) return false;
  if (outcome?.error) {
    await victim.kill();
    throw outcome.error;
  }
  return true;
}

/** The short times. By its heartbeat the broker notices a paused victim. */
function victimOptions({ options = {} }: Row, mode: Mode): Record<string, object> {
  const redis = mode.startsWith('pause')
    ? { ...SHORT_TIMES.core.redis, leaseMs: REDIS_LEASE_MS }
    : SHORT_TIMES.core.redis;
  const times = { ...SHORT_TIMES, core: { ...SHORT_TIMES.core, redis, heartbeatSeconds: 1 } };
  return Object.fromEntries(Object.entries(times).map(([part, own]) => [part, { ...own, ...options[part] }]));
}

/** From the call to the end of the victim, or its return. */
async function breakAndRecover(at: Case, goOn: () => void): Promise<void> {
  const { shop, row, mode, victim } = at;
  const isPaused = mode.startsWith('pause');
  let undo = await row.arrange?.(shop);
  const repair = async () => {
    const once = undo;
    undo = undefined;
    await once?.();
  };
  try {
    await reachPoint(at);
    if (mode === 'crash') await victim.untilExited();
    if (isPaused) await row.disk(at);
    goOn();
    await repair();
    if (isPaused) await (row.recovered?.(at) ?? shop.settled(at.attempt.orderId, RECOVERED_WITHIN_MS));
  } finally {
    await repair();
    if (mode === 'pause, recover, continue') victim.signal('SIGCONT');
    if (mode === 'pause, recover, kill') await victim.kill();
  }
}

async function reachPoint(at: Case): Promise<void> {
  const { shop, row, attempt } = at;
  if (row.trigger) attempt.orderId = await row.trigger(shop);
  else void place(at).catch(() => {});
  await until(`${row.failpoint} is reached (otherwise the case proves nothing)`, () => isAtPoint(at));
  attempt.orderId ||= await idOfKey(at);
}
