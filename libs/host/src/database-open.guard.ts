import { type CanActivate, Injectable } from '@nestjs/common';
import { DtxDatabase, Unavailable } from 'nest-dtx';

/**
 * Guards controllers that use the app's database. Answers 503 until the database was opened and migrated once. A later
 * loss of the connection causes errors of its own.
 */
@Injectable()
export class DatabaseOpen implements CanActivate {
  constructor(private readonly database: DtxDatabase) {}

  canActivate(): boolean {
    if (this.database.ready) return true;
    throw new Unavailable('the database of this app is not open yet; retry later');
  }
}
