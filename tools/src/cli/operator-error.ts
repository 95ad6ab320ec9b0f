/** A failure that the operator can act on. A command shows its message without a stack. */
export class OperatorError extends Error {}
