import { crashMatrix } from './matrix-tests.js';
import { initiatorRows } from './tcc.rows.js';
import { tcc } from './tcc.scheme.js';

crashMatrix('tcc_initiator', tcc, initiatorRows);
