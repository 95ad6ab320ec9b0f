// Loaded into an app by NODE_OPTIONS=--import. Its wall clock is wrong by TEST_CLOCK_SHIFT_MS from its first line on, and
// by TEST_CLOCK_JUMP_MS from a SIGUSR2 on, as if an operator had set the clock of the machine. Timers and performance.now()
// follow the monotonic clock, as they do on such a machine.
let shiftMs = Number(process.env.TEST_CLOCK_SHIFT_MS ?? 0);
process.on('SIGUSR2', () => {
  shiftMs = Number(process.env.TEST_CLOCK_JUMP_MS ?? 0);
  console.log(`the clock is set to ${new Date().toISOString()}`);
});
const RealDate = globalThis.Date;
const now = () => RealDate.now() + shiftMs;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length > 0 ? args : [now()], newTarget),
  apply: () => new RealDate(now()).toString(),
  get: (target, key) => (key === 'now' ? now : Reflect.get(target, key)),
});
