import { consumerRows } from './half-message.rows.js';
import { halfMessages } from './half-message.scheme.js';
import { crashMatrix } from './matrix.js';

crashMatrix('half_consumer', halfMessages, consumerRows);
