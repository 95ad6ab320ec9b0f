import { playAll } from './play.js';
import { receiverScenarios } from './receiver.scenarios.js';
import { senderScenarios } from './sender.scenarios.js';

playAll('lm', [...receiverScenarios, ...senderScenarios]);
