import { crashMatrix } from './matrix-tests.js';
import { initiatorRows } from './saga.rows.js';
import { saga } from './saga.scheme.js';

crashMatrix('saga_initiator', saga, initiatorRows);
