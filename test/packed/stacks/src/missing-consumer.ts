import { DtxModule } from 'nest-dtx';
import { LocalMessageModule } from 'nest-dtx/local-message';
import { moduleOf, start, until } from './running-service.js';
import { alertsOf, contractOf, coreOptions, send, typeOrm } from './sent-message.js';

const asked = contractOf('gone.take');

/** A message whose consumer runs nowhere. Its attempts are never used up, so parking is not what raises the alert. */
export async function missingConsumer(): Promise<object> {
  const resend = { firstMs: 200, factor: 1, capMs: 200 };
  const imports = [
    typeOrm(),
    DtxModule.forRoot(coreOptions('lonely')),
    LocalMessageModule.forRoot({ resend, absentMs: 500, attemptsMax: 10_000 }),
  ];
  const app = await start(moduleOf({ imports }));
  await send(app, asked, 'lonely');
  const alerts = await until('an alert is raised', async () => {
    const raised = await alertsOf(app, 'lonely');
    return raised.length > 0 && raised;
  });
  await app.close();
  return { alerts };
}
