import { producerRows } from './half-message.rows.js';
import { halfMessages } from './half-message.scheme.js';
import { crashMatrix } from './matrix.js';

crashMatrix('half_producer', halfMessages, producerRows);
