// Loaded into an app by NODE_OPTIONS=--import: its wall clock is wrong by TEST_CLOCK_SHIFT_MS from its first line on.
// Timers and performance.now() follow the monotonic clock, as they do on a machine whose clock is wrong.
const shiftMs = Number(process.env.TEST_CLOCK_SHIFT_MS ?? 0);
const RealDate = globalThis.Date;
const now = () => RealDate.now() + shiftMs;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length > 0 ? args : [now()], newTarget),
  apply: () => new RealDate(now()).toString(),
  get: (target, key) => (key === 'now' ? now : Reflect.get(target, key)),
});
