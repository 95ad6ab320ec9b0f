import { playAll } from './play.js';
import { xaScenarios } from './xa.scenarios.js';
import { xaLogScenarios } from './xa-log.scenarios.js';

playAll('xa', [...xaScenarios, ...xaLogScenarios]);
