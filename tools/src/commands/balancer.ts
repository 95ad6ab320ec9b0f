// Balances the instances of the cluster profile of docker-compose.yml, one port per app.
// Usage: node tools/dist/commands/balancer.js 3001=http://order-1:3000,http://order-2:3000 ...
import { Balancer } from '../balancer/round-robin-balancer.js';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal } from '../cli/first-signal.js';
import { OperatorError } from '../cli/operator-error.js';

const USAGE = 'balancer [--host ADDRESS] PORT=URL,URL ...';
const say = (line: string) => console.log(line);

async function main(): Promise<number> {
  const { values, positionals } = readOptions(USAGE, { options: { host: { type: 'string', default: '0.0.0.0' } } });
  if (positionals.length === 0) throw new OperatorError(`no port is given\nusage: ${USAGE}`);
  const plans = positionals.map(readPlan);
  const interrupt = firstSignal({ say });
  const balancers = await Promise.all(plans.map((plan) => Balancer.start({ ...plan, host: values.host, say })));
  for (const { port, instances } of plans) say(`port ${port}: ${instances.join(', ')}`);
  await interrupt.happened;
  await Promise.all(balancers.map((balancer) => balancer.stop()));
  return 0;
}

function readPlan(text: string): { port: number; instances: string[] } {
  const [, port, list] = /^(\d{1,5})=(.+)$/.exec(text) ?? [];
  const instances = (list ?? '').split(',');
  if (port === undefined || instances.some((url) => !/^http:\/\/[^/]+$/.test(url)))
    throw new OperatorError(`"${text}" is not PORT=URL,URL with URLs such as http://order-1:3000\nusage: ${USAGE}`);
  return { port: Number(port), instances };
}

await runCommand(main);
