import { randomUUID } from 'node:crypto';
import { type Sandbox, sql } from '../fixtures/sandbox.js';

const PASSWORD = 'limited-Passw0rd';

/** An account of the payment database with chosen rights. */
export interface LimitedAccount {
  readonly url: string;
  /** As SQL, such as `'dml_1a2b'@'%'`. */
  readonly name: string;
}

/** Makes an account with the rights of these statements, in which `ACCOUNT` stands for its name. */
export async function limitedAccount(sandbox: Sandbox, grants: readonly string[]): Promise<LimitedAccount> {
  const user = `limited_${randomUUID().slice(0, 8)}`;
  const name = `'${user}'@'%'`;
  await sql(sandbox, 'payment', `CREATE USER ${name} IDENTIFIED BY '${PASSWORD}'`);
  for (const grant of grants) await sql(sandbox, 'payment', grant.replaceAll('ACCOUNT', name));
  const url = new URL(sandbox.databases.payment);
  url.username = user;
  url.password = PASSWORD;
  return { url: url.href, name };
}

/** Everything but DDL, on the whole payment database. */
export const dmlOf = (sandbox: Sandbox) =>
  `GRANT SELECT, INSERT, UPDATE, DELETE ON \`${new URL(sandbox.databases.payment).pathname.slice(1)}\`.* TO ACCOUNT`;
