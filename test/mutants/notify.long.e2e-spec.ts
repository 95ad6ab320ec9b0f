import { notifyScenarios } from './notify.scenarios.js';
import { playAll } from './play.js';

playAll('notify', notifyScenarios);
