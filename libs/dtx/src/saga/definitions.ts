// dtx_saga_definition: the order of steps with which the sagas of a name and version run. A build that changes it under
// the same version would resume running sagas at the wrong place, so it does not start.
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { withTimeout } from '../core/async/with-timeout.js';
import { NOW } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql-executor.js';
import { Conditions } from '../core/dependency-health-registry.js';
import type { Condition } from '../core/durable/durable-table.js';
import { DtxError, OptionsError } from '../core/errors/errors.js';
import { Installation } from '../core/installation.js';
import { libraryLogger } from '../core/library-logger.js';
import { mustFitRetention, SAGA_OPTIONS, type SagaOptions } from './options.js';
import { fingerprintOf } from './order-of-steps.js';
import type { Saga } from './saga-entries.js';
import { SAGA, type SagaRow } from './saga-tables.js';
import { SAGAS } from './step-discovery.js';

/** How long the start of the app waits for the database. After that the app starts without it. */
const DATABASE_WAIT_MS = 3_000;

/** The columns of a row that tell its definition. */
export type Began = Pick<SagaRow, 'saga' | 'version' | 'fingerprint'>;

interface Known {
  readonly saga: Saga;
  readonly fingerprint: string;
}

/**
 * The sagas of this build. A changed definition with open sagas stops the start. If the database is unavailable then, the
 * app starts, and later it is not ready and runs no saga.
 */
@Injectable()
export class Definitions implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = libraryLogger('saga');
  private readonly known = new Map<string, Known>();
  /** Why this build must not run its sagas. Empty otherwise. */
  private problem = '';
  private isRecorded = false;
  private readonly stopping = new AbortController();

  constructor(
    private readonly database: Database,
    private readonly installation: Installation,
    conditions: Conditions,
    @Inject(SAGAS) sagas: readonly Saga[],
    @Inject(SAGA_OPTIONS) options: SagaOptions,
  ) {
    for (const saga of sagas) this.add(saga, options);
    conditions.register(() => (this.problem ? [{ name: 'saga definitions', reason: this.problem }] : []));
  }

  /** @throws OptionsError for a saga of another app, twice, or longer than the retention */
  private add(saga: Saga, options: SagaOptions): void {
    const { app } = this.installation;
    if (!saga.name.startsWith(`${app}.`))
      throw new OptionsError(`saga ${saga.name} belongs to another app than ${app}; name it ${app}.<name>`);
    if (this.known.has(keyOf(saga.name, saga.version)))
      throw new OptionsError(
        `saga ${keyOf(saga.name, saga.version)} is in SagaModule twice; give the second one a new version`,
      );
    mustFitRetention(saga, options);
    this.known.set(keyOf(saga.name, saga.version), { saga, fingerprint: fingerprintOf(saga) });
  }

  /** @throws OptionsError for a changed definition with open sagas */
  async onApplicationBootstrap(): Promise<void> {
    const recorded = new Promise<void>((resolve) => this.database.onReady(() => resolve(this.record())));
    if (this.known.size === 0) return;
    this.database.start();
    await withTimeout(DATABASE_WAIT_MS, recorded, () => {});
    if (this.problem) throw new OptionsError(this.problem);
  }

  onModuleDestroy(): void {
    this.stopping.abort();
  }

  /** Whether this build may run its sagas. */
  get isUsable(): boolean {
    return this.isRecorded && this.problem === '';
  }

  /**
   * The fingerprint of a saga, for its row.
   * @throws DtxError for a saga that SagaModule does not have; OptionsError for a changed definition
   */
  mustHave(saga: Saga): string {
    if (this.problem) throw new OptionsError(this.problem);
    const known = this.known.get(keyOf(saga.name, saga.version));
    if (known?.saga !== saga)
      throw new DtxError(`saga ${keyOf(saga.name, saga.version)} is not in SagaModule; add it to its sagas`);
    return known.fingerprint;
  }

  /** Whether this build has a saga of this name and version, with whatever steps. */
  hasVersion({ saga, version }: Pick<Began, 'saga' | 'version'>): boolean {
    return this.known.has(keyOf(saga, Number(version)));
  }

  /** The saga of a row, if this build has it with the steps that the row began with. */
  of({ saga, version, fingerprint }: Began): Saga | undefined {
    const known = this.known.get(keyOf(saga, Number(version)));
    return fingerprint === null || fingerprint === known?.fingerprint ? known?.saga : undefined;
  }

  /**
   * The rows of sagas that this build has. During a deployment an instance with other steps under the same version may have
   * begun one meanwhile, which the check at the start cannot see.
   */
  get mine(): Condition {
    const all = [...this.known.values()].map(({ saga: { name, version }, fingerprint }) => [
      name,
      version,
      fingerprint,
    ]);
    if (all.length === 0) return { sql: '1 = 0', values: [] };
    const began = all.map(([name, version]) => [name!, version!]);
    const sql = '((saga, version, fingerprint) IN (?) OR (fingerprint IS NULL AND (saga, version) IN (?)))';
    return { sql, values: [all, began] };
  }

  /** Records new definitions and compares the others. Tried again until the database answers. */
  private async record(): Promise<void> {
    const { signal } = this.stopping;
    while (!this.isRecorded && !signal.aborted && this.problem === '') {
      try {
        for (const one of this.known.values()) await this.database.own.transaction((sql) => this.recordOne(sql, one));
        this.isRecorded = true;
      } catch (error) {
        if (error instanceof OptionsError) this.refuse(error.message);
        else await sleep(RETRY_MS, undefined, { signal }).catch(() => {});
      }
    }
  }

  private refuse(problem: string): void {
    this.problem = problem;
    this.logger.error(problem);
  }

  /** @throws OptionsError */
  private async recordOne(sql: Sql, { saga: { name, version }, fingerprint }: Known): Promise<void> {
    if (await insertFirst(sql, 'dtx_saga_definition', { name, version, fingerprint, recorded_at: NOW })) return;
    const [row] = await sql.query(
      'SELECT fingerprint FROM dtx_saga_definition WHERE name = ? AND version = ? FOR UPDATE',
      [name, version],
    );
    if (row?.fingerprint === fingerprint) return;
    const [{ open } = { open: 0 }] = await sql.query(
      `SELECT COUNT(*) AS open FROM dtx_saga FORCE INDEX (by_state)
       WHERE state IN (?) AND saga = ? AND version = ? AND (fingerprint IS NULL OR fingerprint <> ?)`,
      [[...SAGA.openStates], name, version, fingerprint],
    );
    if (Number(open) > 0)
      throw new OptionsError(
        `saga ${keyOf(name, version)} has other steps than its ${open} open sagas began with; give it a new version, and keep the old one until they are over`,
      );
    await sql.query(
      'UPDATE dtx_saga_definition SET fingerprint = ?, recorded_at = UTC_TIMESTAMP(3) WHERE name = ? AND version = ?',
      [fingerprint, name, version],
    );
  }
}

const RETRY_MS = 500;

const keyOf = (name: string, version: number) => `${name} v${version}`;
