import { OptionsError } from '../errors/errors.js';

/** A migration, as far as its window is concerned. */
interface Stated {
  readonly version: number;
  readonly compatibleFrom?: number | undefined;
}

/**
 * The versions of a program that may write to a component of a database. A program has the newest version of its own
 * migrations. It cannot know later ones, so each migration records its `compatibleFrom` beside its version.
 */
export interface SchemaWindow {
  /** The newest recorded version. */
  readonly latest: number;
  /** The oldest version of a program that may write. A version without a statement admits no older program. */
  readonly from: number;
  /** The same by statements only. 0 if no version has one. */
  readonly statedFrom: number;
}

/** The windows by component, from rows of `dtx_schema_version`. A table of an earlier release has no statements. */
export function windowsOf(rows: ReadonlyArray<Record<string, unknown>>): ReadonlyMap<string, SchemaWindow> {
  const windows = new Map<string, SchemaWindow>();
  for (const row of rows) {
    const { latest, from, statedFrom } = windows.get(String(row.component)) ?? { latest: 0, from: 0, statedFrom: 0 };
    const version = Number(row.version);
    const stated = row.compatible_from == null ? undefined : Number(row.compatible_from);
    windows.set(String(row.component), {
      latest: Math.max(latest, version),
      from: Math.max(from, stated ?? version),
      statedFrom: Math.max(statedFrom, stated ?? 0),
    });
  }
  return windows;
}

/** A window as an error and a status line name it. */
export function windowText({ latest, from }: Pick<SchemaWindow, 'latest' | 'from'>): string {
  return `version ${latest}, open to programs from version ${from}`;
}

/** Rule of `compatibleFrom`, as errors name it. */
export const COMPATIBLE_FROM_RULE = 'an integer from 1 to the version of its migration';

/** Whether the statement of a migration can be true. No statement is one too. */
export function isWindowValid({ version, compatibleFrom }: Stated): boolean {
  if (compatibleFrom === undefined) return true;
  return Number.isInteger(compatibleFrom) && compatibleFrom >= 1 && compatibleFrom <= version;
}

/** @throws OptionsError that names component, version and value */
export function checkWindows(component: string, migrations: readonly Stated[]): void {
  const wrong = migrations.find((migration) => !isWindowValid(migration));
  if (!wrong) return;
  const { version, compatibleFrom } = wrong;
  throw new OptionsError(
    `${component} version ${version}: invalid compatibleFrom ${JSON.stringify(compatibleFrom)}; expected ${COMPATIBLE_FROM_RULE}`,
  );
}
