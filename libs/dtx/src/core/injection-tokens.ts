/** Injection token of the checked core options (`CoreOptions`). */
export const CORE_OPTIONS = Symbol('dtx core options');
