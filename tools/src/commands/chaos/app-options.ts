// Options of the apps of a run.

/** A handler gives up after a few seconds, so that rows are parked within a run. The caller's own options come first. */
const INBOX = { attemptsMax: 8, backoff: { firstMs: 100, factor: 2, capMs: 1_000 } };

/**
 * The default ladder waits for 10 minutes after its fourth attempt, longer than a run takes to come to rest. This one goes on
 * for longer than any fault lasts.
 */
const NOTIFY = { ladderMs: [1, 2, 5, 10, 15, 20, 30, 30, 30, 30].map((seconds) => seconds * 1_000) };

/** `DTX_OPTIONS` of an app with those of a run. An app rejects options that are not JSON. */
export function chaosOptions(given: string | undefined): string | undefined {
  try {
    const options = JSON.parse(given || '{}');
    const core = { ...options.core, inbox: { ...INBOX, ...options.core?.inbox } };
    return JSON.stringify({ ...options, core, notify: { ...NOTIFY, ...options.notify } });
  } catch {
    return given;
  }
}
