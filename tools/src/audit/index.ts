// The one implementation of the invariants, for the demo, the tests and `npm run audit`.

import { type Databases, openDatabases } from '../sandbox/database-reader.js';
import type { Sandbox } from '../sandbox/sandbox.js';
import {
  checkMoney,
  checkNothingNegative,
  checkPurchases,
  checkStock,
  fingerprintOfOrders,
} from './business-checks.js';
import type { AuditCheck, AuditReport, Check, CheckResult, Quiet } from './check-types.js';
import { countByState, durableTables } from './durable-rows.js';
import { checkHalfMessages } from './half-message-checks.js';
import { heldByParkedTcc } from './held-by-parked-tcc.js';
import { checkKeys } from './idempotency-key-checks.js';
import { checkKeyOrder } from './key-order-checks.js';
import { checkNotifications } from './notify-checks.js';
import { checkParked } from './parked-row-checks.js';
import { type PurchaseSummary, summarizePurchases } from './purchase-comparison.js';
import { checkSagas } from './saga-checks.js';
import { checkTcc } from './tcc-checks.js';
import { checkDurableWork, checkNothingOpen, checkQueues } from './unfinished-work-checks.js';
import { untilQuiet } from './until-quiet.js';
import { checkXa } from './xa-checks.js';

export type { AuditReport } from './check-types.js';

/** In the order in which they are shown. */
const CHECKS: ReadonlyArray<{ name: string; run: Check }> = [
  { name: 'money', run: checkMoney },
  { name: 'stock', run: checkStock },
  { name: 'purchases', run: checkPurchases },
  { name: 'nothing negative', run: checkNothingNegative },
  { name: 'idempotency keys', run: checkKeys },
  { name: 'durable work', run: checkDurableWork },
  { name: 'tcc', run: checkTcc },
  { name: 'sagas', run: checkSagas },
  { name: 'xa', run: checkXa },
  { name: 'half messages', run: checkHalfMessages },
  { name: 'notifications', run: checkNotifications },
  { name: 'order of keys', run: checkKeyOrder },
  { name: 'parked', run: checkParked },
  { name: 'queues', run: checkQueues },
  { name: 'nothing left open', run: checkNothingOpen },
];

export interface AuditOptions {
  /** How long the sandbox may take to come to rest. Otherwise it has failed. */
  readonly settleMs?: number;
  /**
   * How long a sandbox with consumed quorum queues must stay at rest, because their count of unacked messages is up to 5 s
   * old.
   */
  readonly brokerLagMs?: number;
  /** Gets the parts of the sandbox that are not at rest yet, at each look. */
  readonly onLook?: ((unsettled: readonly string[]) => void) | undefined;
}

/** Checks the invariants of a sandbox once it is quiet. */
export async function audit(
  sandbox: Omit<Sandbox, 'redis'>,
  { settleMs = 20_000, brokerLagMs = 5_500, onLook }: AuditOptions = {},
): Promise<AuditReport> {
  const databases = await openDatabases(sandbox);
  try {
    const quiet = await untilQuiet(sandbox, databases, { settleMs, brokerLagMs, onLook });
    const ordersBefore = await fingerprintOfOrders(databases);
    const parkedGids = new Set(quiet.parked.map(({ gid }) => gid).filter((gid) => gid !== null));
    const purchases = await summarizePurchases(databases, parkedGids);
    const held = await heldByParkedTcc(databases, quiet.parked);
    const context = { ...quiet, databases, purchases, ordersBefore, held };
    const checks: AuditCheck[] = [quietCheck(quiet)];
    for (const { name, run } of CHECKS) {
      const result = await run(context);
      if (result) checks.push(toCheck(name, result));
    }
    const nothing = !(await hasAnything(databases, purchases));
    return {
      ok: !nothing && checks.every((check) => check.ok),
      nothing,
      sandbox: sandbox.name,
      parked: quiet.parked,
      checks,
    };
  } finally {
    await databases.close();
  }
}

function quietCheck({ unsettled, waitedMs }: Quiet): AuditCheck {
  const violations = unsettled.map((line) => `did not settle: ${line}`);
  return toCheck('settles', { figures: { waitedMs }, violations });
}

/** Figures become numbers where they fit and text where they do not, so that a report can be written as JSON. */
function toCheck(name: string, { figures, violations }: CheckResult): AuditCheck {
  const plain = ([key, value]: [string, number | bigint | string]) => [
    key,
    Number.isSafeInteger(Number(value)) ? Number(value) : String(value),
  ];
  return {
    name,
    ok: violations.length === 0,
    figures: Object.fromEntries(Object.entries(figures).map(plain)),
    violations: [...violations],
  };
}

/** A sandbox of the shop without a purchase, and any other without a message, proves nothing. */
async function hasAnything(databases: Databases, { purchases }: PurchaseSummary): Promise<boolean> {
  if (databases.has('order', 'orders')) return purchases > 0;
  for (const one of durableTables(databases)) {
    if (Object.keys(await countByState(databases, one)).length > 0) return true;
  }
  return false;
}
