import { Injectable, OnModuleInit } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { WITNESS, witnessMigrations } from './xa-tables.js';

/** Migrates the table for the witnesses of branches in this app's database. */
@Injectable()
export class WitnessSchema implements OnModuleInit {
  constructor(private readonly database: Database) {}

  onModuleInit(): void {
    this.database.addMigrations(WITNESS, witnessMigrations);
  }
}
