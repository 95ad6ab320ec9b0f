import { Unavailable } from '../core/errors/errors.js';

/** The transaction could not be begun, or did not come to its decision, and is rolled back: the same call may succeed later. */
export class XaUnavailable extends Unavailable {}
