/** What `clawctl sandbox …` runs: the one module of the sandbox that the CLI loads, and only when it is asked for. */
export { playDemo } from './demo.js'
export { runInSandbox } from './run.js'
export { endSandboxes, listSandboxes } from './running.js'
export { detachSandbox, keepSandbox, shellExports } from './up.js'
