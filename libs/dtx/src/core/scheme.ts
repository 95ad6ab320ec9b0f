const schemes = new Set<string>();

/** Declares a scheme by the name that its messages, rows and metrics carry. Returns the name. */
export function defineScheme<Name extends string>(name: Name): Name {
  schemes.add(name);
  return name;
}

/** A scheme as a label: one that is loaded here, or `other`, since a message may claim any. */
export function schemeLabel(name: string): string {
  return schemes.has(name) ? name : 'other';
}
