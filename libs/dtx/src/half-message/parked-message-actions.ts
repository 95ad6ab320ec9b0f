// Step 4 by hand: an operator retries or ends the check of a parked prepared message. An action commits as a whole. If
// the process dies during a check, the row is checked again when its lease expires, and the verdict in `dtx_half` is
// the same.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/transaction-sql-executor.js';
import type { DurableLoop, Tried } from '../core/durable/durable-loop.js';
import type { TableRow } from '../core/durable/durable-table.js';
import type { Outcome } from '../core/durable/durable-work.js';
import { DurableLoops } from '../core/durable/loop-factory.js';
import { settleFinal } from '../core/durable/settle-or-park.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { CheckBack } from './check-back.js';
import { SCHEME } from './failpoints.js';
import { halfMessage } from './half-message-publisher.js';
import { HALF_PARKED, type ParkedRow, VERDICTS_LOST } from './half-message-tables.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { outcomeUnknown } from './park-prepared-message.js';
import { acceptVerdicts } from './verdict-loss-check.js';
import { Verdicts } from './verdicts.js';

/** Operator actions on parked prepared messages: retry of the check, rejection, and settlement by hand. */
@Injectable()
export class ParkedMessageActions implements OnModuleInit, OnModuleDestroy {
  private readonly loop: DurableLoop<ParkedRow>;

  constructor(
    private readonly database: Database,
    private readonly checkBack: CheckBack,
    private readonly verdicts: Verdicts,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions,
  ) {
    this.loop = loops.create<ParkedRow>({
      scheme: SCHEME,
      table: HALF_PARKED,
      leaseMs: core.leaseMs,
      scanIntervalMs: core.scanIntervalMs,
      concurrencyMax: options.checkPrefetch,
      // The same number of checks as by the broker, with the same delays between them.
      attemptsMax: options.levelsMs.length,
      backoff: { stepsMs: options.levelsMs.slice(1) },
      canRun: () => true,
      run: (row) => this.recheck(row),
      describe: (row) => ({ gid: row.gid, step: 'checking a half message again' }),
      resolve: (tx, row, outcome) => this.resolve(tx, row, outcome),
    });
  }

  onModuleInit(): void {
    this.database.onReady(() => this.loop.start());
  }

  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
  }

  /**
   * Checks again from the first check on, without the broker. A copy from there could not be told from a redelivery of the
   * one that was parked.
   */
  private async recheck(row: ParkedRow): Promise<Tried> {
    if (row.id === VERDICTS_LOST) return { kind: 'fatal', error: row.last_error ?? 'verdicts are missing' };
    const isKnown = await this.checkBack.recheck(halfMessage.parse(JSON.parse(row.message)));
    if (!isKnown) {
      const check = `check ${row.attempts + 1} after the retry`;
      return { kind: 'failed', error: outcomeUnknown(this.database.names.inDatabase('dtx_half'), check) };
    }
    // If the process dies before this, the lease expires and it is checked once more, which changes nothing.
    const only = { sql: 'm.claim_token = ?', values: [row.claim_token] };
    await settleFinal(this.database.own, HALF_PARKED, { ids: [row.id], only });
    return { kind: 'settled' };
  }

  /**
   * `reject` rules ROLLED_BACK, so a late local transaction fails. It is refused if that transaction has committed (409)
   * or is open (503, end it first). `done` leaves a late verdict to the sweeper.
   */
  private async resolve(tx: EntityManager, row: TableRow, outcome: Outcome): Promise<boolean> {
    const sql = sqlOf(tx);
    if (row.id === VERDICTS_LOST) {
      if (outcome === 'reject') return false;
      await acceptVerdicts(sql);
    } else if (outcome === 'reject') {
      const message = halfMessage.parse(JSON.parse(String(row.message)));
      if ((await this.verdicts.claimIn(sql, message)) !== 'ROLLED_BACK') return false;
    }
    await settleFinal(sql, HALF_PARKED, { ids: [row.id] });
    return true;
  }
}
