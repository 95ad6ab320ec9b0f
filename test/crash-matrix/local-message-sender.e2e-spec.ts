import { senderRows } from './local-message.rows.js';
import { localMessage } from './local-message.scheme.js';
import { crashMatrix } from './matrix-tests.js';

crashMatrix('lm_sender', localMessage, senderRows);
