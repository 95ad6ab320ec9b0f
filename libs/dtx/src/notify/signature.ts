/** Signs and verifies notifications by Standard Webhooks (standardwebhooks.com). See docs/wire.md. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { DtxError } from '../core/errors/errors.js';

/**
 * The signature is wrong, the body was changed, or the timestamp is out of tolerance. Answer 401.
 * @example
 *   if (error instanceof SignatureInvalid) throw new UnauthorizedException(error.message);
 */
export class SignatureInvalid extends DtxError {}

/** Largest difference between the timestamp and the receiver's clock (Standard Webhooks: five minutes). */
const TOLERANCE_MS = 5 * 60_000;
const SIGNATURES_MAX = 20;
const ID = /^[0-9A-Za-z_.:-]{1,64}$/;

/** The headers of a signed message. `webhook-signature` has one signature per secret, newest secret first. */
export function signatureHeaders(message: {
  id: string;
  body: string;
  secrets: readonly string[];
  nowMs: number;
}): Record<string, string> {
  const timestamp = String(Math.floor(message.nowMs / 1_000));
  const signatures = message.secrets.map(
    (secret) => `v1,${sign(secret, `${message.id}.${timestamp}.`, message.body).toString('base64')}`,
  );
  return { 'webhook-id': message.id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}

/**
 * Verifies a received notification against any of the secrets. Returns its id, by which the receiver drops duplicates.
 * @param message.body the request body as received, byte for byte
 * @param message.nowMs the receiver's clock in milliseconds since the epoch. The timestamp may differ by 5 minutes
 * @throws SignatureInvalid if a header is missing or malformed, no secret matches, or the timestamp is out of tolerance
 * @throws DtxError for a secret that `isNotifySecret` refuses, a missing raw body, or an invalid `nowMs`
 * @example
 *   const id = verifySignature({ headers: request.headers, body: request.rawBody, secrets: [secret], nowMs: Date.now() });
 */
export function verifySignature(message: {
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: Buffer;
  secrets: readonly string[];
  nowMs: number;
}): string {
  const { body, nowMs } = message;
  if (!Buffer.isBuffer(body) && typeof body !== 'string')
    throw new DtxError('cannot verify a notification: body is not the raw body; start Nest with { rawBody: true }');
  if (!Number.isFinite(nowMs)) throw new DtxError(`cannot verify a notification: nowMs is ${nowMs}, expected a number`);
  const header = (name: string) => {
    const value = message.headers[name];
    if (typeof value !== 'string') throw new SignatureInvalid(`header ${name} is missing`);
    return value;
  };
  const id = header('webhook-id');
  const timestamp = header('webhook-timestamp');
  if (!ID.test(id)) throw new SignatureInvalid('webhook-id is not an event id, expected 1 to 64 of [0-9A-Za-z_.:-]');
  if (!/^\d{1,12}$/.test(timestamp)) throw new SignatureInvalid('webhook-timestamp is not a time in seconds');
  const given = header('webhook-signature').split(' ').slice(0, SIGNATURES_MAX);
  const isSigned = message.secrets.some((secret) => {
    const expected = sign(secret, `${id}.${timestamp}.`, body);
    return given.some((one) => isEqual(one, expected));
  });
  if (!isSigned)
    throw new SignatureInvalid('webhook-signature does not match; check the secret and that the body is unchanged');
  if (Math.abs(nowMs - Number(timestamp) * 1_000) > TOLERANCE_MS)
    throw new SignatureInvalid('webhook-timestamp is more than 5 minutes off; check the clocks');
  return id;
}

function sign(secret: string, head: string, body: string | Buffer): Buffer {
  return createHmac('sha256', keyOf(secret)).update(head).update(body).digest();
}

const PREFIX = 'whsec_';
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;
/** Standard Webhooks asks for keys of 24 to 64 bytes. Longer ones do no harm. */
const KEY_BYTES_MIN = 24;
const TEXT_CHARS_MIN = 16;

/** Rule for a secret, for error messages. */
export const SECRET_RULE = `must be ${PREFIX} and the base64 of at least ${KEY_BYTES_MIN} bytes, or any other text of at least ${TEXT_CHARS_MIN} characters that neither begins nor ends with white space`;

/**
 * True for a secret that signs with a key of sufficient length.
 * @example
 *   isNotifySecret('change-me'); // false, it has fewer than 16 characters
 */
export function isNotifySecret(secret: string): boolean {
  if (!secret.startsWith(PREFIX)) return secret.length >= TEXT_CHARS_MIN && secret.trim() === secret;
  const text = secret.slice(PREFIX.length);
  return BASE64.test(text) && Buffer.from(text, 'base64').length >= KEY_BYTES_MIN;
}

/**
 * The key of a secret: `whsec_` followed by base64 (Standard Webhooks), or any other text as it is.
 * @throws DtxError for a secret that is not base64. A lenient decoder would sign with an empty key.
 */
function keyOf(secret: string): Buffer {
  if (!isNotifySecret(secret)) throw new DtxError(`cannot use a secret of notifications: it ${SECRET_RULE}`);
  return secret.startsWith(PREFIX) ? Buffer.from(secret.slice(PREFIX.length), 'base64') : Buffer.from(secret);
}

function isEqual(given: string, expected: Buffer): boolean {
  if (!given.startsWith('v1,')) return false;
  const bytes = Buffer.from(given.slice(3), 'base64');
  return bytes.length === expected.length && timingSafeEqual(bytes, expected);
}
