/** Prints one line for the operator. */
export type Say = (line: string) => void;
