/** Injection token of the checked core options. */
export const CORE_OPTIONS = Symbol('dtx core options');
