import { senderRows } from './local-message.rows.js';
import { crashMatrix } from './matrix.js';

crashMatrix('lm_sender', senderRows);
