import { Unavailable } from '../core/errors/errors.js';

/**
 * The transaction did not begin, or was rolled back before a decision. The caller may retry the same call.
 * @example
 *   if (error instanceof XaUnavailable) throw new ServiceUnavailableException(error.message);
 */
export class XaUnavailable extends Unavailable {}
