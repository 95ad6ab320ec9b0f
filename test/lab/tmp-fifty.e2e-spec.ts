import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ADMIN_TOKEN } from '../fixtures/app-process.js';
import { LabStand } from '../fixtures/lab-stand.js';

let stand: LabStand;
beforeAll(async () => { stand = await LabStand.start('lab_fifty'); }, 200_000);
afterAll(() => stand?.stop());
const ticks = (pid: number) => { const f = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop()!.split(' '); return Number(f[11]) + Number(f[12]); };
test('fifty', async () => {
  const pid = stand.supervisor.processes.find(({ name }) => name === 'payment')!.pid;
  const base = `${stand.supervisor.urls.payment}/dtx`;
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
  const measure = async (what: string, s = 15) => { const a = ticks(pid); const t = performance.now(); await sleep(s * 1000); console.log(what, ((ticks(pid) - a) / ((performance.now() - t) / 1000)).toFixed(2), '% of a core'); };
  const stop = new AbortController();
  for (let n = 0; n < 50; n++) void (async () => { try { const r = await fetch(`${base}/events`, { headers, signal: stop.signal }); for await (const _ of r.body!) {} } catch {} })();
  await sleep(4000);
  await measure('50 streams');
  let calls = 0;
  const poll = (paths: string[], everyMs: number) => Array.from({ length: 50 }, (_, n) => void (async () => { await sleep(n * everyMs / 50); while (!stop.signal.aborted) { await Promise.all(paths.map((p) => fetch(base + p, { headers }).then((r) => r.text()))).catch(() => {}); calls += paths.length; await sleep(everyMs); } })());
  poll(['/topology', '/summary', '/history'], 5000);
  await sleep(6000);
  const c = calls;
  await measure('50 overviews', 20);
  console.log('calls', calls - c);
  stop.abort();
  expect(1).toBe(1);
}, 300_000);
