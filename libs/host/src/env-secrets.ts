/** Secrets of an app: read from a file on request, and refused in production if they are short or published. */
import { readFileSync } from 'node:fs';

/** Secrets that were or are published in this repository. */
const PUBLISHED = new Set(['demo-admin-token', 'demo-notify-secret']);
/** Least length of the admin token in production. */
const TOKEN_CHARS_MIN = 16;

/** Variables whose value a file may hold. The file is named by the variable with the suffix `_FILE`. */
export const FILE_VARIABLES = ['DTX_ADMIN_TOKEN', 'DTX_NOTIFY_SECRET'] as const;

/**
 * Replaces each `*_FILE` variable by the content of its file. The variable without the suffix wins if both are set.
 * @throws Error with the rest of a sentence that begins with the variable
 */
export function withSecretFiles(
  given: Readonly<Record<string, string>>,
  fail: (variable: string, problem: string) => Error,
): Record<string, string> {
  const present = { ...given };
  for (const variable of FILE_VARIABLES) {
    const file = present[`${variable}_FILE`];
    if (file === undefined || present[variable] !== undefined) continue;
    const text = contentOf(file);
    if (text instanceof Error) throw fail(`${variable}_FILE`, `cannot be read: ${codeOf(text)}`);
    if (text === '') throw fail(`${variable}_FILE`, 'must name a file that is not empty');
    present[variable] = text;
  }
  return present;
}

function contentOf(file: string): string | Error {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    return error as Error;
  }
}

const codeOf = (error: NodeJS.ErrnoException) => error.code ?? error.message;

/** The problem of an admin token in production, or null. */
export function problemOfToken(token: string): string | null {
  if (PUBLISHED.has(token)) return 'is published in this repository; choose another with NODE_ENV=production';
  if (token.length < TOKEN_CHARS_MIN)
    return `must have at least ${TOKEN_CHARS_MIN} characters with NODE_ENV=production`;
  return null;
}

/** The problem of the secrets of notifications in production, or null. */
export function problemOfSecrets(secrets: readonly string[]): string | null {
  const isPublished = secrets.some((secret) => PUBLISHED.has(secret));
  return isPublished ? 'is published in this repository; choose another with NODE_ENV=production' : null;
}
