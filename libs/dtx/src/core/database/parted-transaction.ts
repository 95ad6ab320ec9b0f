import { DtxError } from '../errors/errors.js';

/** Why the units of a shared transaction run one by one instead. Nothing of it is committed. */
export class Parted extends DtxError {}
