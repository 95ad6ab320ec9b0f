import { playAll } from './play.js';
import { tccScenarios } from './tcc.scenarios.js';

playAll('tcc', tccScenarios);
