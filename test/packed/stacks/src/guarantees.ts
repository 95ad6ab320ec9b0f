import 'reflect-metadata';
import { contractRefusals } from './contract-refusals.js';
import { differingInstances } from './differing-instances.js';
import { existingService } from './existing-service.js';
import { missingConsumer } from './missing-consumer.js';
import { rightsOnRows } from './rights-on-rows.js';
import { strayStatement } from './stray-statement.js';
import { unchangedSession } from './unchanged-session.js';
import { withoutConfigure } from './without-configure.js';

/** Only a service has Terminus, so the repository does not compile this file. */
const OVER_EXPRESS: string = './http-over-express.js';
const httpOverExpress = async (): Promise<object> => (await import(OVER_EXPRESS)).httpOverExpress();

/** What the library promises to a service that was there before it. Prints one line for each promise. */
async function main(): Promise<void> {
  const guarantees = {
    unchangedSession,
    strayStatement,
    differingInstances,
    missingConsumer,
    rightsOnRows,
    withoutConfigure,
    existingService,
    contractRefusals,
    httpOverExpress,
  };
  for (const [guarantee, check] of Object.entries(guarantees))
    console.log(JSON.stringify({ guarantee, ...(await check()) }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
