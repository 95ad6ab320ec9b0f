import { playAll } from './play.js';
import { confirmedPublishScenarios } from './redis-claims.scenarios.js';

playAll('cp', confirmedPublishScenarios);
