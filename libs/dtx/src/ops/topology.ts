import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { Broker, type ConnectionState } from '../core/broker/broker.service.js';
import { RedisClaims } from '../core/consumer/redis-claims.js';
import { Database } from '../core/database/database.service.js';
import { Operations } from '../core/durable/operations-registry.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { loadedSchemes } from '../core/loaded-scheme-names.js';
import type { CoreOptions } from '../core/options.js';
import { installedPackage } from './installed-package.js';
import { OPS_OPTIONS, type OpsOptions } from './options.js';
import { shownOptions } from './shown-options.js';
import { type InstanceView, thisInstance } from './this-instance.js';

/** Callers within this time share one look at the broker. */
const FRESH_MS = 2_000;
/** Time limit for the depth of one queue. After it the depth is not known. */
const LOOK_LIMIT_MS = 1_500;

/** A queue that this process consumes. */
export interface QueueView {
  readonly queue: string;
  readonly isAttached: boolean;
  readonly busy: number;
  readonly prefetch: number;
  readonly problem: string | null;
  /** Messages that wait in the queue. Null if the broker does not say. */
  readonly messages: number | null;
  /** Consumers of all processes. */
  readonly consumers: number | null;
}

export interface TopologyView {
  readonly app: string;
  readonly instance: InstanceView;
  readonly versions: {
    readonly library: string;
    readonly node: string;
    readonly database: string | null;
    readonly broker: string | null;
  };
  readonly schemes: readonly string[];
  readonly queues: readonly QueueView[];
  readonly connections: readonly ConnectionState[];
  readonly database: { readonly isReady: boolean; readonly problem: string | null };
  readonly redis: { readonly isUsed: boolean; readonly isUp: boolean };
  /** The apps that the console of this one shows, by their URLs of `/dtx`. */
  readonly apps: ReadonlyArray<{ readonly name: string; readonly url: string }>;
  /** The options of each module without secrets, by the name of the module. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** What this instance consists of, and how it is connected. */
@Injectable()
export class Topology {
  private queues: Promise<QueueView[]> | undefined;
  private readAt = Number.NEGATIVE_INFINITY;
  private databaseVersion: string | null = null;
  private readonly version = installedPackage('nest-dtx')?.version ?? 'unknown';

  constructor(
    private readonly broker: Broker,
    private readonly database: Database,
    private readonly claims: RedisClaims,
    private readonly operations: Operations,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(OPS_OPTIONS) private readonly options: OpsOptions,
  ) {}

  async view(): Promise<TopologyView> {
    const [queues, databaseVersion] = await Promise.all([this.readQueues(), this.readVersion()]);
    const connections = this.broker.connectionStates();
    const options = [...this.operations.options].map(([name, given]) => [
      name,
      Object.assign({}, ...given.map((one) => shownOptions(one))),
    ]);
    return {
      app: this.core.app,
      instance: thisInstance,
      versions: {
        library: this.version,
        node: process.versions.node,
        database: databaseVersion,
        broker: connections.find(({ server }) => server !== null)?.server ?? null,
      },
      schemes: loadedSchemes(),
      queues,
      connections,
      database: { isReady: this.database.ready, problem: this.database.problem || null },
      redis: { isUsed: this.claims.isUsed, isUp: this.claims.isUp },
      apps: this.options.consoleApps,
      options: Object.fromEntries(options),
    };
  }

  private readQueues(): Promise<QueueView[]> {
    const now = performance.now();
    if (!this.queues || now - this.readAt > FRESH_MS) {
      this.readAt = now;
      this.queues = this.lookAtQueues();
    }
    return this.queues;
  }

  /** An optional queue that is missing is not listed. */
  private async lookAtQueues(): Promise<QueueView[]> {
    const found = await Promise.all(
      this.broker.consumerStates().map(async (state) => {
        const { queue, isAttached, busy, prefetch, problem = null, isOptional = false } = state;
        const look = this.broker.depthOf(state).catch(() => undefined);
        const depth = await Promise.race([look, sleep(LOOK_LIMIT_MS, undefined, { ref: false })]);
        if (isOptional && !isAttached && !depth) return null;
        const { messages = null, consumers = null } = depth ?? {};
        return { queue, isAttached, busy, prefetch, problem, messages, consumers };
      }),
    );
    return found.filter((one) => one !== null).sort((one, other) => one.queue.localeCompare(other.queue));
  }

  private async readVersion(): Promise<string | null> {
    try {
      this.databaseVersion ??= String((await this.database.reads.query('SELECT VERSION() AS version'))[0]!.version);
    } catch {} // shown as unknown until the database answers
    return this.databaseVersion;
  }
}
