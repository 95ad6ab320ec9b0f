/**
 * Idle time in milliseconds before the operating system sends a TCP keep-alive probe to a server. The probes detect a
 * connection that a firewall has dropped.
 */
export const KEEP_ALIVE_MS = 10_000;
