// The demo's purchases against apps that run elsewhere (in containers). Waits for the apps, buys, audits, and ends with 0
// only if every purchase ended as expected. May be repeated on the same data.
// Environment: DTX_ORDER_URL, DTX_PAYMENT_URL, DTX_INVENTORY_URL, and for the audit DTX_ORDER_DATABASE_URL,
// DTX_PAYMENT_DATABASE_URL, DTX_INVENTORY_DATABASE_URL, DTX_RABBITMQ_URL, DTX_RABBITMQ_MANAGEMENT_URL.
import { problemOfBrokerUrls } from 'nest-dtx';
import { audit } from '../audit/index.js';
import { exitCodeOf, reportLines } from '../audit/report-and-exit-code.js';
import { runCommand } from '../cli/command-options-and-exit.js';
import { OperatorError } from '../cli/operator-error.js';
import { answeringNode } from '../servers/broker-probe.js';
import { perApp } from '../servers/server-set.js';
import { serverUrlParts } from '../servers/server-url.js';
import { untilReady } from '../shop/app-calls.js';
import { makePurchases, purchaseTable, setTheScene } from './demo/purchases.js';

const READY_BOUND_MS = 120_000;

async function main(): Promise<number> {
  const { urls, sandbox } = await readEnvironment();
  for (const [app, url] of Object.entries(urls)) {
    const failure = await untilReady(url, { boundMs: READY_BOUND_MS });
    if (failure)
      throw new OperatorError(`the ${app} app at ${url} was not ready after ${READY_BOUND_MS / 1000} s: ${failure}`);
    console.log(`the ${app} app is ready`);
  }
  await setTheScene(urls);
  const rows = await makePurchases(urls, { say: console.log });
  console.log(`\n${purchaseTable(rows)}\n`);
  const result = await audit(sandbox);
  console.log(reportLines(result).join('\n'));
  return rows.every((row) => row.asExpected) ? exitCodeOf([result]) : 1;
}

async function readEnvironment() {
  const each = (suffix: string) => perApp((app) => readUrl(`DTX_${app.toUpperCase()}_${suffix}`));
  const rabbitmq = await readBrokerUrl();
  const vhost = serverUrlParts(rabbitmq).path || '/';
  const management = readUrl('DTX_RABBITMQ_MANAGEMENT_URL');
  return {
    urls: each('URL'),
    sandbox: { name: 'scenario', databases: each('DATABASE_URL'), rabbitmq, management, vhost },
  };
}

/** Of several nodes the first one that answers. */
async function readBrokerUrl(): Promise<string> {
  const urls = process.env.DTX_RABBITMQ_URL ?? '';
  const problem = problemOfBrokerUrls(urls);
  if (problem !== null) throw new OperatorError(`DTX_RABBITMQ_URL is wrong: ${problem}`);
  return answeringNode(urls);
}

function readUrl(name: string): string {
  const value = process.env[name];
  if (!value || !URL.canParse(value)) throw new OperatorError(`${name} must be set to a URL`);
  return value.replace(/\/$/, '');
}

await runCommand(main);
