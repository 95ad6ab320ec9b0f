/** A failure that the operator can act on. A command shows its message without a stack. */
export class OperatorError extends Error {}

/** Ctrl-C or another signal. The command has cleaned up and ends with 130. */
export class Interrupted extends OperatorError {}
