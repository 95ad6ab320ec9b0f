import { crashMatrix } from './matrix-tests.js';
import { participantRows } from './tcc.rows.js';
import { tcc } from './tcc.scheme.js';

crashMatrix('tcc_participants', tcc, participantRows);
