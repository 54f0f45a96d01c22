/** A step of a job or of a composite action. Every text may contain `${{ }}`. */
export interface Step {
  id: string | null
  name: string | null
  if: string | null
  uses: string | null
  with: Record<string, string>
  run: string | null
  shell: string | null
  env: Record<string, string>
  workingDirectory: string | null
  continueOnError: string | null
  timeoutMinutes: string | null
}

/** `defaults.run` */
export interface Defaults {
  shell: string | null
  workingDirectory: string | null
}

/** A YAML mapping; empty for another value. */
export function entries(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

/** A YAML scalar as text, like GitHub. */
export function text(value: unknown): string {
  return value === null || value === undefined ? '' : String(value)
}

export function textOrNull(value: unknown): string | null {
  return value === null || value === undefined ? null : String(value)
}

export function textMap(value: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(entries(value)).map(([key, entry]) => [key, text(entry)]))
}

export function defaultsOf(value: unknown): Defaults {
  const run = entries(entries(value).run)
  return { shell: textOrNull(run.shell), workingDirectory: textOrNull(run['working-directory']) }
}

export function stepOf(step: Record<string, unknown>): Step {
  return {
    id: textOrNull(step.id),
    name: textOrNull(step.name),
    if: textOrNull(step.if),
    uses: textOrNull(step.uses),
    with: textMap(step.with),
    run: textOrNull(step.run),
    shell: textOrNull(step.shell),
    env: textMap(step.env),
    workingDirectory: textOrNull(step['working-directory']),
    continueOnError: textOrNull(step['continue-on-error']),
    timeoutMinutes: textOrNull(step['timeout-minutes']),
  }
}

/** The name that GitHub shows, before its expressions are evaluated. */
export function titleOf(step: Step): string {
  if (step.name !== null) return step.name
  if (step.uses !== null) return `Run ${step.uses}`
  return `Run ${(step.run ?? '').trimStart().split('\n')[0]?.trimEnd() ?? ''}`
}
