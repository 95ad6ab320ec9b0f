/** The one proxy of the house, which `npm run chaos` uses as well. */
export { type Direction, TcpProxy } from '../../scripts/chaos/proxy.mjs';
