import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readEnv } from '../../libs/host/src/env.js';
import { read } from './repository-texts.js';

const compose = read('docker-compose.yml');
/** The script of the service `secrets`, with the indentation of the file and the escapes of Compose removed. */
const script = /\n {2}secrets:\n.*?- \|\n(.*?)\n {4}volumes:/s.exec(compose)![1]!.replaceAll('$$', '$');

describe('docker-compose.yml', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'secrets-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const run = (env: Record<string, string> = {}) => {
    const here = script
      .replaceAll('/secrets', folder)
      .replace('chown node', 'chown "$(id -u)"')
      .replace(/exec node .*/, '');
    return execFileSync('sh', ['-ec', here], { env: { PATH: process.env.PATH, ...env }, encoding: 'utf8' });
  };
  const secretOf = (name: string) => readFileSync(join(folder, name), 'utf8').trim();

  it('makes secrets that the apps accept in production, prints them, and keeps them', () => {
    const printed = run();
    expect(run()).toBe(printed);
    expect(readdirSync(folder).sort()).toEqual(['admin-token', 'notify-secret']);
    const [token, secret] = [secretOf('admin-token'), secretOf('notify-secret')];
    expect(printed).toBe(`admin token of /dtx: ${token}\nsecret of notifications: ${secret}\n`);
    expect(token).not.toBe(secret);
    const env = readEnv(
      {
        NODE_ENV: 'production',
        DTX_DATABASE_URL: 'mysql://root:demo@order-db:3306/dtx_order',
        DTX_RABBITMQ_URL: 'amqp://dtx:demo@rabbitmq:5672/dtx',
        DTX_ADMIN_TOKEN: '',
        DTX_ADMIN_TOKEN_FILE: join(folder, 'admin-token'),
        DTX_NOTIFY_SECRET_FILE: join(folder, 'notify-secret'),
      },
      { port: 3000 },
    );
    expect(env).toMatchObject({ production: true, adminToken: token, notifySecrets: [secret] });
  });

  it('prints the secrets of the variables, if they are set', () => {
    expect(run({ DTX_ADMIN_TOKEN: 'given', DTX_NOTIFY_SECRET: 'also given' })).toBe(
      'admin token of /dtx: given\nsecret of notifications: also given\n',
    );
  });

  it('has no secret of its own, and each app waits for the secrets', () => {
    expect(compose).not.toMatch(/DTX_(ADMIN_TOKEN|NOTIFY_SECRET): \$\{\w+:-[^}]/);
    // Three apps of the profile "single", and one list for all instances of the profile "cluster".
    expect(compose.match(/secrets: \{ condition: service_healthy \}/g)).toHaveLength(4);
    // `docker compose up --exit-code-from scenario` stops everything when the first container exits.
    expect(script).toMatch(/\n *exec node .*setInterval/);
    expect(compose).not.toContain('service_completed_successfully');
  });
});
