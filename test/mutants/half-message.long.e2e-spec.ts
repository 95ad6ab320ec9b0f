import { halfMessageScenarios } from './half-message.scenarios.js';
import { playAll } from './play.js';

playAll('hm', halfMessageScenarios);
