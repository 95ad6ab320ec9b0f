import { Checked, DatabaseOpen, Describe, NotFound } from '@nest-dtx/host';
import { AMOUNT_MAX, cents, findAccount, name, setBalance } from '@nest-dtx/shop';
import { Body, Controller, Get, Param, Put, UseGuards } from '@nestjs/common';
import { inTransaction } from 'nest-dtx';
import { DataSource } from 'typeorm';
import { z } from 'zod';

const accountBody = z.strictObject({ balance: cents }).meta({ example: { balance: 1_000_000 } });

const accountView = z
  .object({ buyerId: name, balance: cents, frozen: cents })
  .meta({ title: 'Account', example: { buyerId: 'alice', balance: 1_000_000, frozen: 0 } });
type AccountView = z.infer<typeof accountView>;

const buyerPath = new Checked(z.object({ buyerId: name }), 'path');

/** HTTP API of accounts. */
@Controller('accounts')
@UseGuards(DatabaseOpen)
export class AccountsController {
  constructor(private readonly db: DataSource) {}

  @Put(':buyerId')
  @Describe({
    summary: 'Opens an account or sets its balance',
    description: `For the setup of a demo. Integer cents, at most ${AMOUNT_MAX}.`,
    body: accountBody,
    answers: { 200: { description: 'The account', schema: accountView } },
  })
  async put(
    @Param(buyerPath) { buyerId }: { buyerId: string },
    @Body(new Checked(accountBody)) { balance }: z.infer<typeof accountBody>,
  ): Promise<AccountView> {
    return inTransaction(this.db, async (tx) => {
      await setBalance(tx, buyerId, balance);
      return viewOfAccount(await findAccount(tx, buyerId), buyerId);
    });
  }

  @Get(':buyerId')
  @Describe({
    summary: 'Returns an account',
    answers: { 200: { description: 'The account', schema: accountView } },
    problems: { 404: 'This buyer has no account' },
  })
  async get(@Param(buyerPath) { buyerId }: { buyerId: string }): Promise<AccountView> {
    return viewOfAccount(await findAccount(this.db.manager, buyerId), buyerId);
  }
}

function viewOfAccount(account: Awaited<ReturnType<typeof findAccount>>, buyerId: string): AccountView {
  if (account === null) throw new NotFound('account not found; open one with PUT and {"balance": 100000}');
  return { buyerId, balance: account.balance, frozen: account.frozen };
}
