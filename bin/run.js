#!/usr/bin/env node
const OLDEST = [20, 19]
const [major, minor] = process.versions.node.split('.').map(Number)

// Before anything is loaded: an older Node would end in a syntax error of some dependency.
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
  process.stderr.write(`clawctl needs Node ${OLDEST.join('.')} or newer, and this is ${process.version}.\n`)
  process.exitCode = 1
} else {
  import('../dist/main.js').then(({ main }) => main(import.meta.url, (file) => import(file)))
}
