import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnApplicationShutdown, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { DecisionLossCheck } from './decision-loss-check.js';
import { Recovery } from './recovery.js';
import { ResourceManagers } from './resource-manager-registry.js';
import { SecondPhase } from './second-phase.js';
import { Xa } from './transaction.js';
import { decisionMigrations } from './xa-tables.js';

/**
 * Starts and stops all parts of XA in order. No other part has a Nest life cycle hook. A stop is not needed for safety: after
 * a kill, the leases expire and recovery of any instance goes on.
 */
@Injectable()
export class XaLifeCycle implements OnModuleInit, OnModuleDestroy, OnApplicationShutdown {
  constructor(
    private readonly database: Database,
    private readonly resources: ResourceManagers,
    private readonly secondPhase: SecondPhase,
    private readonly tail: DecisionLossCheck,
    private readonly recovery: Recovery,
    private readonly xa: Xa,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-xa', decisionMigrations);
    if (this.resources.branches.length === 0) return;
    this.database.onReady(() => {
      this.resources.open();
      this.recovery.start();
      this.secondPhase.start();
      this.tail.start();
    });
  }

  /**
   * Stops new transactions first. Running ones end with their second phase, for `drainMs` at most. Then the scans stop.
   */
  async onModuleDestroy(): Promise<void> {
    this.resources.stopOpening();
    const tail = this.tail.stop();
    await Promise.race([this.xa.drain(), sleep(this.core.drainMs, undefined, { ref: false })]);
    await this.recovery.stop();
    await this.secondPhase.stop();
    await tail;
  }

  /** Closes the pools last, because the second phase of a late transaction may still need them. */
  async onApplicationShutdown(): Promise<void> {
    await this.resources.close();
  }
}
