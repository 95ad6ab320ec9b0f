import { confirmedPublishScenarios } from './confirmed-publish.scenarios.js';
import { playAll } from './play.js';

playAll('cp', confirmedPublishScenarios);
