// Loaded into an app by NODE_OPTIONS=--import: a name server that is not honest. `turning.test` is a public address the
// first time that it is looked up, and this machine after that; `local.test` is this machine always.
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';

// The names are none that DNS knows; it need not be there to say so.
const unknown = (host, done) =>
  setImmediate(done, Object.assign(new Error(`ENOTFOUND ${host}`), { code: 'ENOTFOUND' }));
dns.Resolver.prototype.resolve4 = unknown;
dns.Resolver.prototype.resolve6 = unknown;

const real = dns.lookup;
const PUBLIC = '93.184.215.14';
let asked = 0;

dns.lookup = (host, options, done) => {
  const [given, callback] = typeof options === 'function' ? [{}, options] : [options, done];
  const address =
    host === 'turning.test' ? (asked++ === 0 ? PUBLIC : '127.0.0.1') : host === 'local.test' ? '127.0.0.1' : null;
  if (address === null) return real(host, options, done);
  if (given.all) setImmediate(callback, null, [{ address, family: 4 }]);
  else setImmediate(callback, null, address, 4);
};
syncBuiltinESMExports();
