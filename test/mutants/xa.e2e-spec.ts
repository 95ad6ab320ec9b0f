import { playAll } from './play.js';
import { xaScenarios } from './xa.scenarios.js';

playAll('xa', xaScenarios);
