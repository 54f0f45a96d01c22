/**
 * Replaces packages that oclif needs only to find commands without a manifest (`tinyglobby`, `minimatch`, `lilconfig`) or
 * for its spinners (`cli-spinners`). The package has a manifest, and uses listr2's spinners. Saves a fifth of the code that
 * a start parses.
 */
const absent = () => {
  throw new Error('This is not part of the built program.')
}
/** oclif creates its spinner at each start on a terminal; no command uses it. */
const still = { interval: 1000, frames: ['-'] }
export default Object.assign(absent, { dots2: still, line: still })
export const glob = absent
export const globSync = absent
export const minimatch = absent
export const lilconfig = absent
export const lilconfigSync = absent
