import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../fixtures/app-process.js';
import { freePort } from '../fixtures/free-port.js';
import { spawnForFile } from '../fixtures/spawned-processes.js';
import { until } from '../fixtures/until.js';

/** One app of `examples/`, from its build, on a free port. */
export class ExampleProcess {
  private text = '';

  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (this.text += chunk));
  }

  /** Resolves when the app listens. */
  static async start(path: string, env: Record<string, string>): Promise<ExampleProcess> {
    const port = await freePort();
    const main = join(ROOT, 'examples', 'dist', `${path}.js`);
    const { PATH, HOME } = process.env;
    const child = spawnForFile(process.execPath, [main], {
      env: { PATH, HOME, NO_COLOR: '1', PORT: String(port), ...env },
    });
    const example = new ExampleProcess(child, `http://localhost:${port}`);
    const isListening = () => example.text.includes('successfully started') || example.hasEnded;
    await until(`the example ${path} listens`, isListening, { withinMs: 60_000 });
    if (example.hasEnded) throw new Error(`the example ${path} ended instead of listening: ${example.text}`);
    return example;
  }

  /** The text that it has printed. */
  get output(): string {
    return this.text;
  }

  /** Posts until the answer has one of the given codes, since the library may still be connecting. */
  post(path: string, ...codes: number[]): Promise<{ status: number; body: string }> {
    return until(`POST ${path} answers ${codes}`, async () => {
      const response = await fetch(`${this.url}${path}`, { method: 'POST' });
      const body = await response.text();
      if (!codes.includes(response.status)) throw new Error(`${response.status} ${body}`);
      return { status: response.status, body };
    });
  }

  /** The polite stop of an operator. */
  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    await until('the example ends', () => this.hasEnded, { withinMs: 30_000 });
  }

  private get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }
}
