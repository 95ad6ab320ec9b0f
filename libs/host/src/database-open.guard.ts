import { type CanActivate, Injectable } from '@nestjs/common';
import { Database, Unavailable } from 'nest-dtx';

/**
 * For controllers that use the app's database: 503 until it was opened and migrated for the first time. Before that
 * there are no tables to ask; later, a lost connection speaks for itself.
 */
@Injectable()
export class DatabaseOpen implements CanActivate {
  constructor(private readonly database: Database) {}

  canActivate(): boolean {
    if (this.database.ready) return true;
    throw new Unavailable('the database of this app is not open yet');
  }
}
