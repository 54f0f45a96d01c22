/**
 * Stands for what oclif needs only to find commands without a manifest (`tinyglobby`, `minimatch`, `lilconfig`) or to
 * spin in its own way (`cli-spinners`): what ships has a manifest, and its spinners are listr2's. A fifth of what a start
 * would parse.
 */
const absent = () => {
  throw new Error('This is not part of the built program.')
}
/** oclif makes its spinner at the start on every terminal, and none of our commands turns it. */
const still = { interval: 1000, frames: ['-'] }
export default Object.assign(absent, { dots2: still, line: still })
export const glob = absent
export const globSync = absent
export const minimatch = absent
export const lilconfig = absent
export const lilconfigSync = absent
