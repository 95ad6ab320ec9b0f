import { receiverRows } from './local-message.rows.js';
import { crashMatrix } from './matrix.js';

crashMatrix('lm_receiver', receiverRows);
