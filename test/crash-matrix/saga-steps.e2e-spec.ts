import { crashMatrix } from './matrix-tests.js';
import { stepRows } from './saga.rows.js';
import { saga } from './saga.scheme.js';

crashMatrix('saga_steps', saga, stepRows);
