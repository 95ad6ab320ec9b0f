/** The result of one check of `doctor`. */
export interface Finding {
  /** The subject, such as `database rights`. */
  readonly what: string;
  readonly isOk: boolean;
  /** The observed value, and after a failure the remedy. */
  readonly text: string;
}

export type Report = (finding: Finding) => void;

export function lineOfFinding({ what, isOk, text }: Finding): string {
  return `${isOk ? 'ok  ' : 'FAIL'}  ${what}: ${text}`;
}
