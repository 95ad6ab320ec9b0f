/** The system asks a silent peer so early whether it is there, in milliseconds: a flow that a firewall has forgotten ends. */
export const KEEP_ALIVE_MS = 10_000;
