import { AppProcess } from '../fixtures/app-process.js';
import { until } from '../fixtures/until.js';
import { idOfKey, isAtPoint, place } from './case-calls.js';
import type { Case, Mode, Row } from './row.js';
import { SHORT_TIMES } from './short-times.js';
import { setAside } from './warm-instances.js';

export { SHORT_TIMES };

/** The claim of a paused victim in Redis does not expire before the disk has been looked at, even on a busy machine. */
const REDIS_LEASE_MS = 6_000;
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
  const goOn = await setAside(play.shop, play.row.app);
  try {
    const victim = await startVictim(play);
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

async function startVictim({ shop, scheme, row, mode }: Play): Promise<AppProcess> {
  const failpoints = [row.alsoArmed, `${row.failpoint}=1*${ACTIONS[mode]}`].filter(Boolean).join(';');
  const options = victimOptions(row, mode);
  const victim = await AppProcess.start(row.app, { sandbox: shop.sandbox, failpoints, options, env: scheme.env });
  await shop.untilReady(victim);
  return victim;
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
