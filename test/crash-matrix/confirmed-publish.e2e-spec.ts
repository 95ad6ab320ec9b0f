import { rows } from './confirmed-publish.rows.js';
import { reliableMessages } from './confirmed-publish.scheme.js';
import { crashMatrix } from './matrix-tests.js';

crashMatrix('reliable', reliableMessages, rows);
