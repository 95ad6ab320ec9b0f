// Options of the apps of a run.

/** A handler gives up after a few seconds, so that rows are parked within a run. The caller's own options come first. */
const INBOX = { attemptsMax: 4, backoff: { firstMs: 100, factor: 2, capMs: 1_000 } };

/** `DTX_OPTIONS` of an app with those of a run. An app rejects options that are not JSON. */
export function chaosOptions(given: string | undefined): string | undefined {
  try {
    const options = JSON.parse(given || '{}');
    return JSON.stringify({ ...options, core: { ...options.core, inbox: { ...INBOX, ...options.core?.inbox } } });
  } catch {
    return given;
  }
}
