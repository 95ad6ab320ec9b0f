import { hostname } from 'node:os';

/** Names a process among the instances of an app. The time of the start tells it from a later one with the same pid. */
export interface InstanceView {
  readonly host: string;
  readonly pid: number;
  readonly startedAt: string;
}

export const thisInstance: InstanceView = {
  host: hostname(),
  pid: process.pid,
  startedAt: new Date(Date.now() - process.uptime() * 1_000).toISOString(),
};
