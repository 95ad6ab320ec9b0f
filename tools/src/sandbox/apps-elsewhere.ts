// Apps that run elsewhere (in containers), from the environment: DTX_ORDER_URL, DTX_PAYMENT_URL, DTX_INVENTORY_URL, for the
// databases DTX_ORDER_DATABASE_URL, DTX_PAYMENT_DATABASE_URL, DTX_INVENTORY_DATABASE_URL, and DTX_RABBITMQ_URL with
// DTX_RABBITMQ_MANAGEMENT_URL.
import { problemOfBrokerUrls } from 'nest-dtx';
import { OperatorError } from '../cli/operator-error.js';
import { answeringNode } from '../servers/broker-probe.js';
import { type App, perApp } from '../servers/server-set.js';
import { serverUrlParts } from '../servers/server-url.js';
import type { Sandbox } from './sandbox.js';

export interface AppsElsewhere {
  readonly urls: Record<App, string>;
  readonly sandbox: Omit<Sandbox, 'redis'>;
}

/** @throws OperatorError if a variable is missing or wrong */
export async function appsElsewhere(name: string): Promise<AppsElsewhere> {
  const each = (suffix: string) => perApp((app) => readUrl(`DTX_${app.toUpperCase()}_${suffix}`));
  const rabbitmq = await readBrokerUrl();
  const vhost = serverUrlParts(rabbitmq).path || '/';
  const management = readUrl('DTX_RABBITMQ_MANAGEMENT_URL');
  return { urls: each('URL'), sandbox: { name, databases: each('DATABASE_URL'), rabbitmq, management, vhost } };
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
