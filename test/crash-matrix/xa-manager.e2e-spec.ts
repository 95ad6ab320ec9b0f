import { crashMatrix } from './matrix-tests.js';
import { managerRows } from './xa.rows.js';
import { xa } from './xa.scheme.js';

crashMatrix('xa_manager', xa, managerRows);
