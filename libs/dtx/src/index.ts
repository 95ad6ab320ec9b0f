/**
 * The public surface of nest-dtx. Each scheme also has its own entry, such as `nest-dtx/xa`, which loads no other
 * scheme.
 */
export * from './confirmed-publish/index.js';
export * from './core/index.js';
export * from './half-message/index.js';
export * from './http/index.js';
export * from './local-message/index.js';
export * from './notify/index.js';
export * from './ops/index.js';
export * from './saga/index.js';
export * from './tcc/index.js';
export * from './xa/index.js';
