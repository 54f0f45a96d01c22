/**
 * The data that crosses an edge: Control API, CLI output, S3 records, workflow inputs.
 * Everything from outside is `unknown` until one of these has parsed it.
 */
export * from './deploy.js'
export * from './failure.js'
export * from './fleet.js'
export * from './freeze.js'
export * from './host.js'
export * from './order.js'
export * from './patterns.js'
export * from './preflight.js'
export * from './stage.js'
export * from './stored.js'
