import { halfMessages } from './half-message.scheme.js';
import { consumerRows } from './half-message-consumer.rows.js';
import { crashMatrix } from './matrix-tests.js';

crashMatrix('half_consumer', halfMessages, consumerRows);
