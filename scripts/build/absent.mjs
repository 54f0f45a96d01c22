/**
 * Stands for what oclif needs only to find commands without a manifest (`tinyglobby`, `minimatch`, `lilconfig`) or to
 * spin in its own way (`cli-spinners`): what ships has a manifest, and its spinners are listr2's. A fifth of what a start
 * would parse.
 */
const absent = () => {
  throw new Error('This is not part of the built program.')
}
export default absent
export const glob = absent
export const globSync = absent
export const minimatch = absent
export const lilconfig = absent
export const lilconfigSync = absent
