/**
 * The parts of prom-client that the library uses. They are written down here, since an app without metrics does not install
 * prom-client and compiles all the same.
 */
import { optionalPackage } from '../core/optional-package.js';

/** A registry of prom-client. */
export interface MetricsRegistry {
  /** The content type of `metrics()`. */
  readonly contentType: string;
  /** The metrics as text. */
  metrics(): Promise<string>;
  // biome-ignore lint/suspicious/noExplicitAny: prom-client declares its metrics as a union of classes
  registerMetric(metric: any): void;
  removeSingleMetric(name: string): void;
}

type Labels = Record<string, string>;

interface MetricConfig {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: string[];
  readonly registers: MetricsRegistry[];
  /** Called before the value is read. */
  readonly collect?: () => Promise<void>;
}

export interface Counter {
  inc(labels?: Labels, value?: number): void;
}

export interface Gauge {
  inc(labels: Labels, value: number): void;
  set(value: number): void;
  set(labels: Labels, value: number): void;
  reset(): void;
}

export interface Histogram {
  observe(labels: Labels, value: number): void;
}

export interface PromClient {
  readonly Registry: new () => MetricsRegistry;
  readonly Counter: new (config: MetricConfig) => Counter;
  readonly Gauge: new (config: MetricConfig) => Gauge;
  readonly Histogram: new (config: MetricConfig & { readonly buckets: number[] }) => Histogram;
  collectDefaultMetrics(config: { register: MetricsRegistry }): void;
}

/** @throws OptionsError if prom-client is not installed */
export function loadPromClient(): Promise<PromClient> {
  return optionalPackage<PromClient>(
    'prom-client',
    'OpsModule collects metrics',
    () => (typeof require === 'function' ? require('prom-client') : import('prom-client')) as Promise<PromClient>,
    "install prom-client 15, or leave 'metrics' out of the option `endpoints`",
  );
}
