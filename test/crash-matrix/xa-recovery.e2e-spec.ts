import { crashMatrix } from './matrix-tests.js';
import { recoveryRows } from './xa.rows.js';
import { xa } from './xa.scheme.js';

crashMatrix('xa_recovery', xa, recoveryRows);
