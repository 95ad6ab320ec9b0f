/** Any thrown value as one text. Some network errors of Node have an empty message and only a code. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || codeOf(error) || error.name;
}

/** `ECONNREFUSED`, `ENOENT`, `ER_BAD_DB_ERROR` and the like, if the error has one. */
export function codeOf(error: unknown): string | undefined {
  return (error as { code?: string } | null)?.code;
}
