// Loaded into an app by NODE_OPTIONS=--import: its wall clock jumps by TEST_CLOCK_JUMP_MS when it gets SIGUSR2, as it does
// when somebody sets the clock of a machine. Timers and performance.now() follow the monotonic clock and go on.
let shiftMs = 0;
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
