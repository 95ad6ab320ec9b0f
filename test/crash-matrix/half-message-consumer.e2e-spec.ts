import { halfMessages } from './half-message.scheme.js';
import { consumerRows } from './half-message-consumer.rows.js';
import { crashMatrix } from './matrix.js';

crashMatrix('half_consumer', halfMessages, consumerRows);
