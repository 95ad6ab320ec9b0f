// The refusals of the lab, with the status of their answer.

/** A request that cannot be carried out. Its message says what to do. */
export class LabError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}
