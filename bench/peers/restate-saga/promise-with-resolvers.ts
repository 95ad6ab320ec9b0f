// The SDK calls a function of Node.js 22. Node.js 20 runs it with this one.
interface Resolvers<T> {
  promise: Promise<T>;
  resolve: (value: T | PromiseLike<T>) => void;
  reject: (reason?: unknown) => void;
}

const promises = Promise as { withResolvers?: <T>() => Resolvers<T> };
promises.withResolvers ??= <T>() => {
  const resolvers = {} as Resolvers<T>;
  resolvers.promise = new Promise<T>((resolve, reject) => Object.assign(resolvers, { resolve, reject }));
  return resolvers;
};
