/**
 * The smallest ratio of `retentionMs` to `timeoutMs`. A row that blocks late calls must outlast the longest transaction
 * and an outage.
 */
const RETENTION_TIMES_TIMEOUT = 10;

/**
 * For `superRefine` of a section with both options. Rejects a retention that may end while a transaction is still
 * running.
 */
export function retentionOutlastsTimeout(
  { timeoutMs, retentionMs }: { timeoutMs: number; retentionMs: number },
  context: { addIssue(issue: { code: 'custom'; path: string[]; message: string }): void },
): void {
  if (retentionMs >= RETENTION_TIMES_TIMEOUT * timeoutMs) return;
  const message = `expected at least ${RETENTION_TIMES_TIMEOUT} times timeoutMs (${timeoutMs}), got ${retentionMs}`;
  context.addIssue({ code: 'custom', path: ['retentionMs'], message });
}
