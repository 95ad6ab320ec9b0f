// One failpoint from arming to recovery, told step by step.

import { existsSync, readFileSync, rmSync } from 'node:fs';
import { tableNames } from 'nest-dtx/testing';
import { OperatorError } from '../../cli/operator-error.js';
import type { Say } from '../../cli/say-type.js';
import { until } from '../../cli/waits-and-progress.js';
import type { App } from '../../servers/server-set.js';
import { expectOk } from '../../shop/app-calls.js';
import { refusalIn, type Urls, untilFinal } from '../../shop/purchase.js';
import { fillSupplies } from '../../shop/supplies.js';
import type { ControlClient, DemoStatus } from '../demo/control-socket.js';
import { endedWell, isHonestRefusal } from './acceptable-outcomes.js';
import type { AppEventQueue } from './app-event-queue.js';
import { type Arming, armingOf } from './arming-per-failpoint.js';
import { follow, heal } from './heal.js';
import type { Failpoint } from './known-failpoints.js';
import type { Healing, Watch } from './recovery-watch.js';
import { BOOK, loseDecision, type Stimulus, sendPurchase, sendRestock, sendUnreadable } from './stimulus.js';

const HIT_BOUND_MS = 60_000;
const HEAL_BOUND_MS = 120_000;
/** A paused process may hold an open transaction, which no other instance can finish. Then it is killed. */
const HEAL_BESIDE_PAUSED_MS = 60_000;
/** How long a killed app stays dead, so that the state on disk can be shown. */
const HOLD_MS = 2_000;

export const MODES = ['crash', 'pause', 'error'] as const;
export type Mode = (typeof MODES)[number];

const DOES: Record<Mode, string> = { crash: 'killed itself', pause: 'stopped itself', error: 'failed the step' };

export interface BreakContext {
  readonly point: Failpoint;
  readonly mode: Mode;
  readonly control: ControlClient;
  readonly status: DemoStatus;
  readonly events: AppEventQueue;
  readonly watch: Watch;
  readonly failpointLog: string;
  readonly say: Say;
  /** Called as soon as the id of the work is known. */
  readonly onGid?: (gid: string) => void;
  /** Called when the process has reached the failpoint. */
  readonly onHit?: (hit: Hit) => void;
}

/** A line of the log of failpoints. */
export interface Hit {
  readonly name: string;
  readonly pid: number;
  readonly at: number;
}

/** Returns whether it healed. */
export async function runBreak(context: BreakContext): Promise<boolean> {
  const { point, mode, control, status, failpointLog, say } = context;
  const arming = armingOf(point, { mode, failpointLog });
  rmSync(failpointLog, { force: true });
  // Before the app is armed: a full shelf is also published, by a message of its own.
  if (arming.stimulus === 'purchase' && arming.wanted === undefined) await fillSupplies(status.urls, BOOK, { say });
  say(`1. restarting the ${point.app} app with ${arming.env.DTX_FAILPOINTS}`);
  if (arming.because) say(`   ${arming.because}`);
  await control.ask('restart', { app: point.app, env: arming.env, holdMs: HOLD_MS });

  const urls = { ...status.urls };
  const stimulus = await send(arming, status, urls, say);
  say(`2. ${stimulus.what}`);
  await untilHit(context);
  const gid = await afterHit(context, stimulus, urls);
  if (stimulus.parkedId) await settleByHand(context, tableNames.inbox, stimulus.parkedId);
  if (arming.settles) await settleAllByHand(context, arming.settles);
  return gid !== null && (await conclude(context, gid, stimulus));
}

/** `urls` changes when a second instance takes over. */
async function send({ stimulus, scheme, wanted }: Arming, status: DemoStatus, urls: Urls, say: Say): Promise<Stimulus> {
  switch (stimulus) {
    case 'unreadable':
      return sendUnreadable(status.sandbox, scheme);
    case 'lost-decision':
      return loseDecision(status.sandbox);
    case 'restock':
      return sendRestock(urls, say);
    default:
      return sendPurchase(urls, scheme, wanted, say);
  }
}

/** The app writes a line before the process dies or stops. Without that line nothing was shown. */
async function untilHit({ point, mode, failpointLog, say, onHit }: BreakContext): Promise<void> {
  const hit = await until(() => readHit(failpointLog, point.name), { boundMs: HIT_BOUND_MS });
  if (!hit)
    throw new OperatorError(
      `${point.name} was not reached within ${HIT_BOUND_MS / 1000} s; the app is still armed, restart the demo`,
    );
  onHit?.(hit);
  // An error comes instead of the step, so the text about the disk after the step would be wrong.
  say(
    `3. process ${hit.pid} ${DOES[mode]} at ${point.name}.${mode === 'error' ? '' : ' On disk it is now like this:'}`,
  );
  if (mode !== 'error') say(`   "${point.disk}"`);
}

async function afterHit(context: BreakContext, stimulus: Stimulus, urls: Urls): Promise<string | null> {
  const { watch, onGid, mode } = context;
  const gid = await stimulus.findGid(watch.databases);
  if (gid !== null) onGid?.(gid);
  await watch.showNow(gid);
  if (mode === 'crash') return afterCrash(context, stimulus);
  return mode === 'pause' ? afterPause(context, stimulus, urls) : afterError(context, stimulus);
}

function readHit(log: string, name: string): Hit | null {
  if (!existsSync(log)) return null;
  const hits = readFileSync(log, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Hit);
  return hits.find((hit) => hit.name === name) ?? null;
}

async function afterCrash(context: BreakContext, stimulus: Stimulus): Promise<string | null> {
  const { point, events, say } = context;
  say(`4. the ${point.app} app is started again. Who finishes: "${point.finisher}"`);
  await untilBack(events, point.app);
  return heal(context, stimulus, HEAL_BOUND_MS);
}

/** The process lives on. It is restarted at the end, since it may have been armed with changed options. */
async function afterError(context: BreakContext, stimulus: Stimulus): Promise<string | null> {
  const { point, control, say } = context;
  say(`4. the process goes on. Who finishes: "${point.finisher}"`);
  const gid = await heal(context, stimulus, HEAL_BOUND_MS);
  await control.ask('restart', { app: point.app, env: {}, holdMs: 0 });
  return gid;
}

const BESIDE_PAUSED: Record<Healing, string> = {
  healed: 'healed beside the stopped process, which is killed now',
  postponed: 'the open rest waits for a later attempt, since it needs the stopped process, which is killed now',
  open: 'the stopped process still holds the work (an open transaction): it is killed now',
};

async function afterPause(context: BreakContext, stimulus: Stimulus, urls: Urls): Promise<string | null> {
  const { point, control, events, say } = context;
  say(`4. the stopped process stays as it is; a second instance starts. Who finishes: "${point.finisher}"`);
  const second = await control.ask('startSecond', { app: point.app });
  urls[point.app] = second.url;
  say(`   the second ${point.app} app is process ${second.pid} at ${second.url}`);
  const { gid: healed, healing } = await follow(context, stimulus, HEAL_BESIDE_PAUSED_MS);
  say(`5. ${BESIDE_PAUSED[healing]}`);
  await control.ask('kill', { app: point.app });
  await untilBack(events, point.app);
  const gid = healing === 'healed' ? healed : await heal(context, stimulus, HEAL_BOUND_MS);
  await control.ask('stopSecond', { app: point.app });
  return gid;
}

/** Its death first: an earlier `ready` event belongs to the armed start. */
async function untilBack(events: AppEventQueue, app: App): Promise<void> {
  const died = await events.next('died', app, HIT_BOUND_MS);
  if (died && (await events.next('ready', app, HIT_BOUND_MS))) return;
  throw new OperatorError(`the ${app} app did not ${died ? 'come back' : 'die'}: see its log in .infra/demo`);
}

/** A PARKED row waits for an operator. Here this command is the operator, so that the demo stays usable. */
async function settleByHand(context: BreakContext, table: string, id: string): Promise<void> {
  const { point, status, watch, say } = context;
  const sql = `SELECT state FROM ${table} WHERE id = ?`;
  const [row] = await watch.databases.query<{ state: string }>(point.app, sql, [id]);
  if (row?.state !== 'PARKED')
    throw new OperatorError(
      `${id} in ${table} of the ${point.app} app should be PARKED, but is ${row?.state ?? 'not there'}; see npm run trace`,
    );
  const path = `/dtx/transactions/${id}/resolve`;
  say(`   it is PARKED with one alert; a person settles it: POST ${path} {"outcome":"done"}`);
  const headers = { authorization: `Bearer ${status.token}` };
  const body = { outcome: 'done', note: 'shown by npm run break' };
  await expectOk('POST', `${status.urls[point.app]}${path}`, { body, headers });
}

async function settleAllByHand(context: BreakContext, table: string): Promise<void> {
  const sql = `SELECT id FROM ${table} WHERE state = 'PARKED'`;
  const parked = await context.watch.databases.query<{ id: string }>(context.point.app, sql);
  for (const { id } of parked) await settleByHand(context, table, id);
}

async function conclude({ point, status, say }: BreakContext, gid: string, stimulus: Stimulus): Promise<boolean> {
  const answer = await stimulus.answered;
  if (!answer) return true; // no purchase was involved
  if (answer.orderId !== gid) {
    say(`BROKEN: the client was answered ${answer.orderId}, the databases know ${gid} under its Idempotency-Key`);
    return false;
  }
  const final = refusalIn(answer.answered) ?? (await untilFinal(status.urls, gid));
  say(`the purchase ${gid} is ${final?.status ?? 'still PENDING'}${final?.reason ? ` (${final.reason})` : ''}`);
  if (isHonestRefusal(final)) say('the shop refused it because goods or money ran out, which is not a fault');
  return endedWell(point, final);
}
