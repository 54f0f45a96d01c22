/**
 * The data that crosses an edge: Control API, CLI output, S3 records, workflow inputs.
 * Everything from outside is `unknown` until one of these has parsed it.
 */
export * from './contract/deploy.js'
export * from './contract/failure.js'
export * from './contract/fleet.js'
export * from './contract/patterns.js'
export * from './contract/preflight.js'
export * from './contract/stored.js'
