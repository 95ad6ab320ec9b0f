import { defineScheme } from '../core/loaded-scheme-names.js';

/** Apart from the failpoints, because the tables are read by programs that reach none. */
export const SCHEME = defineScheme('saga');
