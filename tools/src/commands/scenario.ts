// The demo's purchases against apps that run elsewhere (in containers). Waits for the apps, buys, audits, and ends with 0
// only if every purchase ended as expected. May be repeated on the same data.
// Its environment: sandbox/apps-elsewhere.ts.
import { audit } from '../audit/index.js';
import { exitCodeOf, reportLines } from '../audit/report-and-exit-code.js';
import { runCommand } from '../cli/command-options-and-exit.js';
import { OperatorError } from '../cli/operator-error.js';
import { appsElsewhere } from '../sandbox/apps-elsewhere.js';
import { untilReady } from '../shop/app-calls.js';
import { makePurchases, purchaseTable, setTheScene } from './demo/purchases.js';

const READY_BOUND_MS = 120_000;

async function main(): Promise<number> {
  const { urls, sandbox } = await appsElsewhere('scenario');
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

await runCommand(main);
