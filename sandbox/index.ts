/** The only module of the sandbox that the CLI loads, on demand. */
export { playDemo } from './demo.js'
export { runInSandbox } from './run.js'
export { endSandboxes, listSandboxes } from './running.js'
export { detachSandbox, keepSandbox, shellExports } from './up.js'
