import { ClawctlError } from '../domain/errors.js'

/** `name` or `owner/name`: an installation has one owner, so the name is enough. @throws ClawctlError USAGE */
export function parseRepositories(values: readonly string[] | undefined): string[] | undefined {
  return values?.map((value) => {
    const name = /^(?:[A-Za-z0-9-]+\/)?([A-Za-z0-9._-]+)$/.exec(value)?.[1]
    if (name !== undefined) return name
    throw new ClawctlError('USAGE', `--repository ${JSON.stringify(value)} is not the name of a repository.`, {
      hint: 'Write it as clawdinators or openclaw/clawdinators.',
    })
  })
}

/** `contents=read`. @throws ClawctlError USAGE */
export function parsePermissions(values: readonly string[] | undefined): Record<string, string> | undefined {
  if (!values) return undefined
  const pairs = values.map((value) => {
    const [, name, level] = /^([a-z][a-z_]*)=(read|write|admin)$/.exec(value) ?? []
    if (name !== undefined && level !== undefined) return [name, level] as const
    throw new ClawctlError('USAGE', `--permission ${JSON.stringify(value)} is not of the form NAME=read|write.`, {
      hint: 'For example --permission contents=read --permission pull_requests=write.',
    })
  })
  const twice = pairs.find(([name], index) => pairs.findIndex(([other]) => other === name) !== index)
  if (twice) throw new ClawctlError('USAGE', `--permission ${twice[0]} is given twice.`, { hint: 'Give it once.' })
  return Object.fromEntries(pairs)
}

/** Documents end up in logs and chats. @throws ClawctlError USAGE */
export function refuseTokenInJson(stdout: boolean, json: boolean): void {
  if (!stdout || !json) return
  throw new ClawctlError('USAGE', "--stdout can't be combined with --json: JSON output never contains a token.", {
    hint: 'Use --stdout without --json, or --out FILE with it.',
  })
}
