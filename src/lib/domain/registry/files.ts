import { HOSTS_PATH, REGISTRY_PATH } from '../paths.js'
import { hostFilePath, SHARED_HOST_FILES } from './hostFile.js'
import { checkRegistry, type RegistryRule } from './registry.js'

/** A problem of the fleet's files, with its place. A warning does not fail the check. */
export interface FileProblem {
  /** Below the checkout. */
  file: string
  line: number
  column: number
  severity: 'error' | 'warning'
  rule: RegistryRule | 'missing-host-file' | 'unused-host-file'
  /** The instance that the problem concerns, or null. */
  id: string | null
  message: string
}

/**
 * Every problem of the registry and of the host files, in the order of the file.
 * @param hostFiles names in nix/hosts, without `.nix`
 */
export function checkFleetFiles(text: string, hostFiles: readonly string[]): FileProblem[] {
  const { ids, problems } = checkRegistry(text)
  const found: FileProblem[] = problems.map((problem) => ({ file: REGISTRY_PATH, severity: 'error', ...problem }))
  const unreadable = problems.some(({ rule }) => rule === 'syntax')
  if (unreadable) return found
  for (const { id, line, column } of ids) {
    if (hostFiles.includes(id) || problems.some((problem) => problem.rule === 'id' && problem.id === id)) continue
    const message = `there is no ${hostFilePath(id)}`
    found.push({ file: REGISTRY_PATH, line, column, severity: 'error', rule: 'missing-host-file', id, message })
  }
  found.sort((a, b) => a.line - b.line || a.column - b.column)
  const known = new Set(ids.map(({ id }) => id))
  for (const name of [...hostFiles].sort()) {
    if (known.has(name) || SHARED_HOST_FILES.includes(name)) continue
    const message = `no entry of ${REGISTRY_PATH} uses this file`
    const file = `${HOSTS_PATH}/${name}.nix`
    found.push({ file, line: 1, column: 1, severity: 'warning', rule: 'unused-host-file', id: name, message })
  }
  return found
}

/**
 * `nix/instances.json:7:5: error: clawdinator-2: … [shared-value]`, the format of compilers, which editors and CI
 * can parse.
 */
export function formatProblem({ file, line, column, severity, rule, id, message }: FileProblem): string {
  const whose = id === null || severity === 'warning' ? '' : `${id}: `
  return `${file}:${line}:${column}: ${severity}: ${whose}${message} [${rule}]`
}
