// The result of the crash matrix: one case per failpoint, app and mode.

/** The modes in the order of the columns, with their heads. */
export const MODES = {
  crash: 'crash',
  'pause, recover, kill': 'pause, then kill',
  'pause, recover, continue': 'pause, then continue',
  error: 'error',
  lost: 'answer lost',
} as const;

export type Mode = keyof typeof MODES;

/** What a test of the matrix says about itself (`test/crash-matrix/matrix-types.ts`). */
export interface CaseName {
  readonly failpoint: string;
  /** The app whose process dies. A service of its own for failpoints that the demo has not. */
  readonly app: string;
  /** Tells apart cases of one failpoint in one app. Empty for most. */
  readonly when: string;
  readonly mode: Mode;
}

export interface MatrixCase extends CaseName {
  readonly isPassed: boolean;
  readonly ms: number;
  /** The first line of the failure. */
  readonly error?: string;
}

/** The cases of one run of vitest. `others`: tests beside the cases, such as the audit of a sandbox. */
export interface ShardResult {
  readonly cases: readonly MatrixCase[];
  readonly others: { readonly passed: number; readonly failed: readonly string[] };
}

/** One run over all shards, on one pair of servers. */
export interface MatrixRun extends ShardResult {
  /** The day in UTC, such as 2026-01-31. */
  readonly date: string;
  readonly commit: string;
  readonly database: string;
  readonly broker: string;
  readonly node: string;
  readonly shards: ReadonlyArray<{ readonly shard: string; readonly seconds: number }>;
}

export interface MatrixRow extends Omit<CaseName, 'mode'> {
  readonly scheme: string;
  readonly cells: ReadonlyArray<MatrixCase | undefined>;
}

/** One row per failpoint, app and circumstance, in the order of the schemes. */
export function rowsOf(cases: readonly MatrixCase[]): MatrixRow[] {
  const rows = new Map<string, MatrixCase[]>();
  for (const one of cases) {
    const key = JSON.stringify([schemeOf(one), one.failpoint, one.app, one.when]);
    rows.set(key, [...(rows.get(key) ?? []), one]);
  }
  return [...rows.values()]
    .map((group) => {
      const { failpoint, app, when } = group[0]!;
      const cells = Object.keys(MODES).map((mode) => group.find((one) => one.mode === mode));
      return { scheme: schemeOf(group[0]!), failpoint, app, when, cells };
    })
    .sort((one, other) => (sortKey(one) < sortKey(other) ? -1 : 1));
}

const sortKey = ({ scheme, failpoint, app, when }: MatrixRow) => [scheme, failpoint, app, when].join('\n');

const schemeOf = ({ failpoint }: CaseName) => failpoint.split('.')[0]!;

export const failedOf = ({ cases, others }: ShardResult): string[] => [
  ...cases.filter(({ isPassed }) => !isPassed).map((one) => `${nameOf(one)}: ${one.error ?? 'failed'}`),
  ...others.failed,
];

export function nameOf({ failpoint, app, when, mode }: CaseName): string {
  return `${failpoint} in ${app}${when ? `, ${when}` : ''}: ${mode}`;
}
