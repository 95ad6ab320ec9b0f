// The demo's purchases against apps that run elsewhere (in containers): waits for the apps, buys, audits, and ends with
// 0 only if everything came out as it must. May be run again on the same data.
// Environment: DTX_ORDER_URL, DTX_PAYMENT_URL, DTX_INVENTORY_URL, and for the audit DTX_ORDER_DATABASE_URL,
// DTX_PAYMENT_DATABASE_URL, DTX_INVENTORY_DATABASE_URL, DTX_RABBITMQ_URL, DTX_RABBITMQ_MANAGEMENT_URL.
import { pathToFileURL } from 'node:url';
import { audit } from '../audit/index.mjs';
import { exitCodeOf, reportLines } from '../audit/report.mjs';
import { OperatorError, runCommand } from '../command/entry.mjs';
import { serverUrlParts } from '../infra/server-url.mjs';
import { untilReady } from './http.mjs';
import { makePurchases, purchaseTable, setTheScene } from './purchases.mjs';

const READY_BOUND_MS = 120_000;

async function main() {
  const { urls, world } = readEnvironment();
  for (const [app, url] of Object.entries(urls)) {
    const failure = await untilReady(url, { boundMs: READY_BOUND_MS });
    if (failure)
      throw new OperatorError(`the ${app} app at ${url} was not ready after ${READY_BOUND_MS / 1000} s: ${failure}`);
    console.log(`the ${app} app is ready`);
  }
  await setTheScene(urls);
  const rows = await makePurchases(urls, { say: console.log });
  console.log(`\n${purchaseTable(rows)}\n`);
  const result = await audit(world);
  console.log(reportLines(result).join('\n'));
  return rows.every((row) => row.asExpected) ? exitCodeOf([result]) : 1;
}

function readEnvironment() {
  const names = ['ORDER', 'PAYMENT', 'INVENTORY'];
  const each = (suffix) => Object.fromEntries(names.map((app) => [app.toLowerCase(), readUrl(`DTX_${app}_${suffix}`)]));
  const rabbitmq = readUrl('DTX_RABBITMQ_URL');
  const vhost = serverUrlParts(rabbitmq).path || '/';
  const management = readUrl('DTX_RABBITMQ_MANAGEMENT_URL');
  return {
    urls: each('URL'),
    world: { name: 'scenario', databases: each('DATABASE_URL'), rabbitmq, management, vhost },
  };
}

function readUrl(name) {
  const value = process.env[name];
  if (!value || !URL.canParse(value)) throw new OperatorError(`${name} must be set to a URL`);
  return value.replace(/\/$/, '');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await runCommand(main);
