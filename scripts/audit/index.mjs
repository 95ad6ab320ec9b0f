// The one implementation of the invariants, for the demo, the tests and `npm run audit`.
import {
  checkMoney,
  checkNothingNegative,
  checkPurchases,
  checkStock,
  fingerprintOfOrders,
} from './business-checks.mjs';
import { openDatabases } from './databases.mjs';
import { countByState, durableTables } from './durable.mjs';
import { checkHalfMessages } from './half-message-checks.mjs';
import { checkKeys } from './key-checks.mjs';
import { checkDurableWork, checkNothingOpen, checkParked, checkQueues } from './message-checks.mjs';
import { checkNotifications } from './notify-checks.mjs';
import { summarizePurchases } from './purchases.mjs';
import { untilQuiet } from './quiet.mjs';
import { checkTcc } from './tcc-checks.mjs';
import { heldByParkedTcc } from './tcc-held.mjs';
import { checkXa } from './xa-checks.mjs';

/** In the order they are shown. A check gives null where the world has nothing of what it looks at. */
const CHECKS = [
  { name: 'money', run: checkMoney },
  { name: 'stock', run: checkStock },
  { name: 'purchases', run: checkPurchases },
  { name: 'nothing negative', run: checkNothingNegative },
  { name: 'idempotency keys', run: checkKeys },
  { name: 'durable work', run: checkDurableWork },
  { name: 'tcc', run: checkTcc },
  { name: 'xa', run: checkXa },
  { name: 'half messages', run: checkHalfMessages },
  { name: 'notifications', run: checkNotifications },
  { name: 'parked', run: checkParked },
  { name: 'queues', run: checkQueues },
  { name: 'nothing left open', run: checkNothingOpen },
];

/**
 * @typedef {{ name: string, ok: boolean, figures: Record<string, number | string>, violations: string[] }} AuditCheck
 * @typedef {{ ok: boolean, nothing: boolean, world: string, parked: Array<Record<string, unknown>>,
 *   checks: AuditCheck[] }} AuditReport `nothing`: there was no purchase and no message to check, so `ok` is false
 *   without a violation
 */

/**
 * Checks the invariants of a world once it is quiet.
 *
 * @param {{ name: string, databases: Record<string, string>, rabbitmq: string, management: string, vhost: string }} world
 * @param {{ settleMs?: number, brokerLagMs?: number }} options `settleMs`: how long the world may take to come to rest;
 *   a world that does not has failed. `brokerLagMs`: how long a world with consumed quorum queues must stay at rest,
 *   because their count of unacked messages is up to 5 s old.
 * @returns {Promise<AuditReport>}
 */
export async function audit(world, { settleMs = 20_000, brokerLagMs = 5_500 } = {}) {
  const databases = await openDatabases(world);
  try {
    const quiet = await untilQuiet(world, databases, { settleMs, brokerLagMs });
    const ordersBefore = await fingerprintOfOrders(databases);
    const parkedGids = new Set(quiet.parked.map(({ gid }) => gid).filter(Boolean));
    const purchases = await summarizePurchases(databases, parkedGids);
    const held = await heldByParkedTcc(databases, quiet.parked);
    const context = { ...quiet, databases, purchases, ordersBefore, held };
    const checks = [quietCheck(quiet)];
    for (const { name, run } of CHECKS) {
      const result = await run(context);
      if (result) checks.push(toCheck(name, result));
    }
    const nothing = !(await hasAnything(databases, purchases));
    return {
      ok: !nothing && checks.every((check) => check.ok),
      nothing,
      world: world.name,
      parked: quiet.parked,
      checks,
    };
  } finally {
    await databases.close();
  }
}

function quietCheck({ unsettled, waitedMs }) {
  const violations = unsettled.map((line) => `never came to rest: ${line}`);
  return toCheck('comes to rest', { figures: { waitedMs }, violations });
}

/** Figures leave as numbers where they fit, as text where they do not, so that a report can be written as JSON. */
function toCheck(name, { figures, violations }) {
  const plain = ([key, value]) => [key, Number.isSafeInteger(Number(value)) ? Number(value) : String(value)];
  return {
    name,
    ok: violations.length === 0,
    figures: Object.fromEntries(Object.entries(figures).map(plain)),
    violations,
  };
}

/** A world of the shop without a purchase, and any other without a message, has put nothing to the test. */
async function hasAnything(databases, { purchases }) {
  if (databases.has('order', 'orders')) return purchases > 0;
  for (const one of durableTables(databases)) {
    if (Object.keys(await countByState(databases, one)).length > 0) return true;
  }
  return false;
}
