import { crashMatrix } from './matrix.js';
import { rows } from './reliable-message.rows.js';
import { reliableMessages } from './reliable-message.scheme.js';

crashMatrix('reliable', reliableMessages, rows);
