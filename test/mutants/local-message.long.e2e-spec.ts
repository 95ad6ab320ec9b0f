import { delayedMessageScenarios } from './delayed-message.scenarios.js';
import { receiverScenarios } from './local-message-receiver.scenarios.js';
import { senderScenarios } from './local-message-sender.scenarios.js';
import { playAll } from './play.js';

playAll('lm', [...receiverScenarios, ...senderScenarios, ...delayedMessageScenarios]);
