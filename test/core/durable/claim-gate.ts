import { createConnection } from 'mysql2/promise';
import { type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

/** Claims of the outbox of the payment app wait between their look and their commit until the gate is open. */
export class ClaimGate {
  private constructor(
    private readonly sandbox: Sandbox,
    private readonly session: Awaited<ReturnType<typeof createConnection>>,
    private readonly lock: string,
  ) {}

  /** A closed gate. */
  static async close(sandbox: Sandbox): Promise<ClaimGate> {
    const session = await createConnection(sandbox.databases.payment);
    // The names of locks are those of the server, and files run side by side.
    const lock = `claim-gate ${sandbox.name}`;
    await session.query('DO GET_LOCK(?, 0)', [lock]);
    await sql(
      sandbox,
      'payment',
      `CREATE TRIGGER IF NOT EXISTS claim_gate BEFORE UPDATE ON dtx_outbox FOR EACH ROW
       SET @passed = IF(NEW.claim_token IS NULL, 1, GET_LOCK('${lock}', 30) + RELEASE_LOCK('${lock}'))`,
    );
    return new ClaimGate(sandbox, session, lock);
  }

  async claimWaits(): Promise<void> {
    await until('the claim waits', async () => {
      const waiting = `SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User lock'`;
      return (await sql(this.sandbox, 'payment', waiting)).length > 0;
    });
  }

  async open(): Promise<void> {
    await this.session.query('DO RELEASE_LOCK(?)', [this.lock]);
    await this.session.end();
  }
}
