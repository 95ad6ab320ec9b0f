import { describe, expect, it } from 'vitest';
import { runCli } from './run-cli.js';

const SECRET = 's3cr3t-pw';
const URL_OF_NOWHERE = `mysql://app:${SECRET}@127.0.0.1:1/shop`;

async function run(args: readonly string[], env: Record<string, string> = {}) {
  const out: string[] = [];
  const errors: string[] = [];
  const code = await runCli(args, {
    env,
    signal: new AbortController().signal,
    say: (line) => out.push(line),
    complain: (line) => errors.push(line),
  });
  return { code, out: out.join('\n'), errors: errors.join('\n') };
}

describe('wrong arguments of nest-dtx', () => {
  it.each<[string[], RegExp]>([
    [[], /^missing command$/m],
    [['migrat'], /^unknown command migrat$/m],
    [['\u001b[2J\n'], /^unknown command \\x1b\[2J\\x0a$/m],
    [['x'.repeat(5_000)], /^unknown command x{200}$/m],
    [['migrate'], /^missing --url \(or the environment variable DTX_DATABASE_URL\)$/m],
    [['migrate', URL_OF_NOWHERE], /^1 argument\(s\) without an option name$/m],
    [['migrate', `--ulr=${URL_OF_NOWHERE}`], /^unknown option --ulr$/m],
    [['migrate', '--url'], /^option --url needs a value$/m],
    [['migrate', '--url', `mysql://app:${SECRET}@nowhere`], /^the database URL must be a URL like /m],
    [['status', '--url', `${URL_OF_NOWHERE}?sslmode=REQUIRED`], /^the database URL has the unknown option sslmode/m],
    [['status', '--url', `${URL_OF_NOWHERE}?ssl=${SECRET}`], /^the database URL has a wrong option ssl/m],
    [['status', '--schemes', 'workflow'], /^--schemes: unknown scheme "workflow", expected local-message, /m],
    [['migrate', '--app', 'order'], /^--app and --migrations belong together$/m],
    [['migrate', '--app', 'order', '--migrations', './nowhere.js'], /^cannot load --migrations \.\/nowhere\.js: /m],
    [['status', '--table-prefix', 'staging_'], /^--table-prefix: expected 1 to 16 of a-z, /m],
    [['sql', '--from', 'start'], /^--from: expected status$/m],
    [['sql', '--from', 'status'], /^missing --url/m],
    [['queues', '--contracts', './contracts.js'], /^missing --app$/m],
    [['queues', '--app', 'order'], /^missing --contracts$/m],
    [['queues', '--app', 'order', '--json=yes'], /^option --json takes no value$/m],
    [['doctor'], /^missing --url, --rabbitmq or --redis/m],
    [['doctor', '--rabbitmq', `http://app:${SECRET}@127.0.0.1`], /^the RabbitMQ URL must be a URL like amqp:/m],
    [
      ['doctor', '--rabbitmq', `amqp://app:${SECRET}@a/v,amqp://app:${SECRET}@b/w`],
      /^the RabbitMQ URL number 2 of 2 has another /m,
    ],
    [['doctor', '--redis', `redis://:${SECRET}@127.0.0.1/one`], /^the Redis URL must be a URL like redis:/m],
  ])('end %j with one line, the usage and exit code 2', async (args, line) => {
    const { code, out, errors } = await run(args);
    expect(code).toBe(2);
    expect(errors).toMatch(line);
    expect(errors).toContain('usage: nest-dtx');
    expect(out).toBe('');
    expect(errors).not.toContain(SECRET);
  });
});

it('an unknown command is answered with the list of commands', async () => {
  const { errors } = await run(['bogus']);
  expect(errors.match(/^ {2}\w+/gm)).toEqual(['  migrate', '  status', '  sql', '  queues', '  doctor', '  redrive']);
});

describe('help of nest-dtx', () => {
  it('lists every command and exits with 0', async () => {
    const { code, out } = await run(['--help']);
    expect(code).toBe(0);
    for (const name of ['migrate', 'status', 'sql', 'queues', 'doctor', 'redrive']) expect(out).toContain(`  ${name}`);
  });

  it('shows the usage of one command and exits with 0', async () => {
    expect(await run(['sql', '--help'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^usage: nest-dtx sql /),
    });
  });
});

describe('a server that cannot be reached', () => {
  it('ends migrate with exit code 1 and without the password', async () => {
    const { code, errors } = await run(['migrate'], { DTX_DATABASE_URL: URL_OF_NOWHERE });
    expect(code).toBe(1);
    expect(errors).toMatch(/^migrate failed: .*ECONNREFUSED/);
    expect(errors).not.toContain(SECRET);
  });

  it('is a failed check of doctor, which ends with exit code 1', async () => {
    const broker = `amqp://app:${SECRET}@127.0.0.1:1`;
    const { code, out } = await run(['doctor', '--url', URL_OF_NOWHERE, '--rabbitmq', broker]);
    expect(code).toBe(1);
    expect(out).toMatch(/^FAIL {2}database: cannot connect: .*ECONNREFUSED/m);
    expect(out).toMatch(/^FAIL {2}broker: cannot connect: .*ECONNREFUSED/m);
    expect(out).toContain('2 check(s) failed');
    expect(out).not.toContain(SECRET);
  });

  it('is a failed check of doctor for each node of a broker', async () => {
    const broker = `amqp://app:${SECRET}@127.0.0.1:1,amqp://app:${SECRET}@127.0.0.1:2`;
    const { code, out } = await run(['doctor'], { DTX_RABBITMQ_URL: broker });
    expect(code).toBe(1);
    for (const port of [1, 2])
      expect(out).toMatch(new RegExp(`^FAIL {2}broker 127\\.0\\.0\\.1:${port}: cannot connect: .*ECONNREFUSED`, 'm'));
    expect(out).not.toContain(SECRET);
  });
});
