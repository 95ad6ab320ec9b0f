import { crashMatrix } from './matrix.js';
import { managerRows } from './xa.rows.js';
import { xa } from './xa.scheme.js';

crashMatrix('xa_manager', xa, managerRows);
