import { NestFactory } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { expect, test } from 'vitest';
import { libraryOf, moduleOfSource } from '../../fixtures/little-service.js';

const library = libraryOf();

test('an application whose database was never open closes without an error', async () => {
  const source = new DataSource({ type: 'mysql', host: '127.0.0.1', port: 1, username: 'a', database: 'a' });
  class Service {}
  const imports = [
    moduleOfSource(source),
    library.DtxModule.forRoot({ app: 'payment', rabbitmqUrl: 'amqp://127.0.0.1:1' }),
    library.LocalMessageModule.forRoot(),
    library.TccModule.forRoot(),
    library.XaModule.forRoot(),
    library.NotifyModule.forService({ service: 'payment', secrets: ['a-secret-of-some-length'] }),
  ];
  // Nest 12 logs the error of a hook. Nest 11 throws it from close().
  const errors: string[] = [];
  const logger = { log() {}, warn() {}, error: (error: unknown) => void errors.push(String(error)) };
  const app = await NestFactory.createApplicationContext({ module: Service, imports }, { logger });
  await app.close();
  expect(errors).toEqual([]);
});
