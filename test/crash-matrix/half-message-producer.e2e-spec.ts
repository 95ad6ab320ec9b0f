import { halfMessages } from './half-message.scheme.js';
import { producerRows } from './half-message-producer.rows.js';
import { crashMatrix } from './matrix-tests.js';

crashMatrix('half_producer', halfMessages, producerRows);
