/**
 * Flags of Node.js for processes with many transactions at once. An open transaction outlives the collections of a small
 * young generation, and each collection copies it. See `docs/operations.md`, "Memory". The Dockerfile has the same flags.
 */
export const NODE_FLAGS = ['--max-semi-space-size=32', '--min-semi-space-size=16'] as const;
