// CPU time and memory of processes, from /proc. Only on Linux.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Usage {
  readonly cpuMs: number;
  readonly rssBytes: number;
}

let ticksPerSecond: number | undefined;

function msPerTick(): number {
  ticksPerSecond ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return 1_000 / ticksPerSecond;
}

/** The sum over these processes. Null if one cannot be read: it has ended, or this is not Linux. */
export function usageOf(pids: readonly number[]): Usage | null {
  try {
    const usages = pids.map(one);
    return { cpuMs: sum(usages.map(({ cpuMs }) => cpuMs)), rssBytes: sum(usages.map(({ rssBytes }) => rssBytes)) };
  } catch {
    return null;
  }
}

/** Fields 14 and 15 of /proc/<pid>/stat are user and system time in ticks, see proc(5). Field 2 may contain spaces. */
function one(pid: number): Usage {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop()!.split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  const rss = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return { cpuMs: ticks * msPerTick(), rssBytes: Number(rss?.[1] ?? 0) * 1_024 };
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
