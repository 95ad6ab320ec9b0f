import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../fixtures/app-process.js';
import { spawnForFile } from '../fixtures/spawned-processes.js';

const PROGRAM = join(ROOT, 'libs', 'dtx', 'dist', 'cli', 'nest-dtx.js');

export interface Ended {
  readonly code: number | null;
  /** Both streams, in the order of their arrival. */
  readonly output: string;
}

/** A run of `nest-dtx` as a process of the build. */
export class DtxCommand {
  private output = '';
  readonly ended: Promise<Ended>;

  private constructor(private readonly child: ChildProcess) {
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text) => {
        this.output += text;
      });
    this.ended = new Promise((resolve) => {
      child.once('close', (code) => resolve({ code, output: this.output }));
    });
  }

  static start(args: readonly string[], env: Record<string, string> = {}): DtxCommand {
    const { DTX_DATABASE_URL: _, DTX_RABBITMQ_URL: __, DTX_REDIS_URL: ___, ...inherited } = process.env;
    return new DtxCommand(
      spawnForFile(process.execPath, [PROGRAM, ...args], { cwd: ROOT, env: { ...inherited, ...env } }),
    );
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
}

/** Runs a command against a database, with its URL in the environment. */
export const dtx = (args: readonly string[], url?: string): Promise<Ended> =>
  DtxCommand.start(args, url ? { DTX_DATABASE_URL: url } : {}).ended;
