/** Options of `Xa.run`. */
export interface XaRun {
  /** Name of the transaction for people and traces, such as an order id. A new id by default. */
  readonly gid?: string;
}
