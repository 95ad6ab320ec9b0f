/** The one proxy of the house, which `npm run chaos` uses as well. */
export { type Direction, TcpProxy } from '../../tools/src/commands/chaos/proxy.js';
