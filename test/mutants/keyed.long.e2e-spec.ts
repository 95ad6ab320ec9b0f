import { keyedScenarios } from './keyed.scenarios.js';
import { playAll } from './play.js';

playAll('keyed', keyedScenarios);
