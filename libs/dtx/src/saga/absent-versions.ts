// Step 5: raises an alert for sagas whose version no running instance has, since none goes on with them.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Periodic } from '../core/async/periodic-task.js';
import { Database } from '../core/database/database.service.js';
import { Alerts } from '../core/durable/alerts.js';
import { BackgroundWork } from '../core/durable/background-work.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { libraryLogger } from '../core/library-logger.js';
import { type Began, Definitions } from './definitions.js';
import { SAGA_OPTIONS, type SagaOptions } from './options.js';
import { SCHEME } from './scheme-name.js';

/** Checks per `absentMs`. */
const CHECKS = 4;
const CHECK_EVERY_MS_MAX = 60_000;
/** The subject of an alert, which is not the id of a saga. */
const SUBJECT = 'absent:';

/**
 * An instance claims only sagas that it has. One that stays due for `absentMs` has no instance. The alert closes when an
 * instance with the version has taken them. If the process dies, the check of another one goes on.
 */
@Injectable()
export class AbsentVersions implements OnModuleInit, OnModuleDestroy {
  private readonly logger = libraryLogger('saga');
  private readonly checks: Periodic;

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly background: BackgroundWork,
    private readonly definitions: Definitions,
    @Inject(SAGA_OPTIONS) private readonly options: SagaOptions,
  ) {
    const failed = (error: unknown) => {
      if (!isUnavailable(error)) this.logger.error(`cannot check for absent versions, retrying: ${textOf(error)}`);
    };
    const everyMs = Math.min(options.absentMs / CHECKS, CHECK_EVERY_MS_MAX);
    this.checks = new Periodic(everyMs, () => this.check(), failed);
  }

  onModuleInit(): void {
    this.database.onReady(() => this.background.startPeriodic('absent versions of sagas', this.checks));
  }

  async onModuleDestroy(): Promise<void> {
    await this.checks.stop();
  }

  private async check(): Promise<void> {
    const { own } = this.database;
    const rows: Array<Began & { number: number }> = await own.query(
      `SELECT saga, version, fingerprint, COUNT(*) AS number FROM dtx_saga FORCE INDEX (due)
       WHERE next_attempt_at < ${inFuture(-this.options.absentMs)} GROUP BY saga, version, fingerprint`,
    );
    for (const row of rows.filter((one) => !this.definitions.of(one))) {
      const { saga, version, number } = row;
      const step = `going on with saga ${saga} v${version}`;
      const remedy = this.definitions.hasVersion(row)
        ? 'they began with other steps; start an instance of the build that began them, and give the changed definition a new version'
        : 'start an instance that has this version';
      const lastError = `no instance has saga ${saga} v${version}, and ${number} wait for one; ${remedy}`;
      const id = `${SUBJECT}${saga}.v${version}`;
      await this.alerts.tell({ scheme: SCHEME, id, gid: null, step, lastError, closesBy: 'itself' }, 'SILENT');
    }
    const told: Array<{ id: string }> = await own.query(
      // The gid of a user may begin like the subject, and its alert waits for an operator.
      `SELECT subject_id AS id FROM dtx_alert
       WHERE open_key LIKE '${SCHEME}:${SUBJECT}%' AND gid IS NULL`,
    );
    const still = new Set(rows.map(({ saga, version }) => `${SUBJECT}${saga}.v${version}`));
    await this.alerts.close(
      own,
      SCHEME,
      told.map(({ id }) => id).filter((id) => !still.has(id)),
    );
  }
}
