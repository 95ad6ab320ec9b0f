import { DtxError, TransactionEnded } from '../errors/errors.js';
import { countStatements, type Statement } from './statement-effect.js';
import type { GuardOptions } from './transaction-guard-options.js';
import type { Evidence } from './transaction-identity.js';

/**
 * Rejects a statement of the user that would end its transaction, before it is sent.
 * @throws TransactionEnded, or DtxError for a statement that has no place in a transaction of the library
 */
export function refuseEnding(statement: Statement, text: string, { allowsSeveral, isLibrarys }: GuardOptions): void {
  if (statement.kind === 'ends') throw refusal(statement.what);
  if (statement.kind === 'use' && isLibrarys)
    throw new DtxError(
      'USE rejected: the library needs its default database; qualify tables of another database with its name',
    );
  if (!allowsSeveral && text.includes(';') && countStatements(text) > 1)
    throw new DtxError('several statements in one query rejected: DataSource option multipleStatements is not set');
}

/** @throws TransactionEnded for SET autocommit where autocommit is off, since it commits there */
export async function refuseAutocommit(evidence: Evidence): Promise<void> {
  if (!(await evidence.hasAutocommit())) throw refusal('SET autocommit');
}

function refusal(what: string): TransactionEnded {
  return new TransactionEnded(`${what} would end it and was not sent`);
}

const TOO_LATE =
  'statement rejected: the transaction has ended, by its time limit or before a statement that was not awaited; ' +
  'await every statement inside it';

/**
 * The answer to a statement behind the end of the user code. Where every error ends the transaction, this one does, too: the
 * call may have sent a part of its statements before.
 */
export function tooLate(of?: { readonly options: GuardOptions; readonly evidence: Evidence }): Promise<never> {
  const error = new DtxError(TOO_LATE);
  if (of?.options.everyErrorEnds) of.evidence.failure ??= error;
  return Promise.reject(error);
}
