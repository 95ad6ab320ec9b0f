import { playAll } from './play.js';
import { sagaScenarios } from './saga.scenarios.js';

playAll('saga', sagaScenarios);
