/** The arguments of OpenTofu. They never contain a secret, because `ps` and CI logs show them. */

/** clawctl itself holds the lock of the state during a whole deploy, with the URL of its run. */
const NO_LOCK = '-lock=false'

interface InDirectory {
  /** Directory of the stack. OpenTofu resolves every other path against it, so `file` is best absolute. */
  dir: string
}

/** A string for `type = string`; a list or an object is passed as JSON. */
export type TofuVariable = string | readonly unknown[] | object

/** `tofu init`. `-reconfigure`: a changed backend is used as configured, and no state is migrated. */
export function tofuInitArgs(options: InDirectory & { backendConfig: Readonly<Record<string, string>> }): string[] {
  const config = Object.entries(options.backendConfig).map(([key, value]) => `-backend-config=${key}=${value}`)
  return [chdir(options), 'init', '-input=false', '-no-color', '-reconfigure', ...config]
}

/** `tofu plan` that saves the plan in `file`; `replace` is the address to replace, or null. */
export function tofuPlanArgs(
  options: InDirectory & {
    file: string
    vars: Readonly<Record<string, TofuVariable>>
    replace: string | null
  },
): string[] {
  const vars = Object.entries(options.vars).map(
    ([name, value]) => `-var=${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return [
    chdir(options),
    'plan',
    '-input=false',
    '-no-color',
    NO_LOCK,
    `-out=${options.file}`,
    ...vars,
    ...(options.replace === null ? [] : [`-replace=${options.replace}`]),
  ]
}

/** `tofu show` of a saved plan as JSON. */
export function tofuShowPlanArgs(options: InDirectory & { file: string }): string[] {
  return [chdir(options), 'show', '-no-color', '-json', options.file]
}

/** The stored state. `show` would fail if the provider has another version of a resource's schema. */
export function tofuStatePullArgs(options: InDirectory): string[] {
  return [chdir(options), 'state', 'pull']
}

/** `tofu untaint` of one resource. It takes no variables. */
export function tofuUntaintArgs(options: InDirectory & { address: string }): string[] {
  return [chdir(options), 'untaint', '-no-color', NO_LOCK, options.address]
}

/** `tofu apply` of exactly the saved plan: with a plan file OpenTofu needs no confirmation and takes no variables. */
export function tofuApplyArgs(options: InDirectory & { file: string }): string[] {
  return [chdir(options), 'apply', '-input=false', '-no-color', NO_LOCK, options.file]
}

/** `tofu state push` of the state on stdin: OpenTofu compares lineage and serial. */
export function tofuStatePushArgs(options: InDirectory): string[] {
  return [chdir(options), 'state', 'push', NO_LOCK, '-']
}

function chdir({ dir }: InDirectory): string {
  return `-chdir=${dir}`
}
