import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import * as z from 'zod/mini'
import { type BackendConfig, backendConfigSchema } from './backend.js'
import { Diagnostic } from './diagnostic.js'
import type { Change } from './plan.js'
import type { Attributes, State } from './state.js'

/** A saved plan in the stand-in's own format: the output of `show -json`, with lineage and serial of its state. */
export interface SavedPlan {
  backend: BackendConfig
  lineage: string
  serial: number
  region: string
  /** The refreshed state, in the form of a state file. */
  prior: string
  /** Values of the stack's variables, as JSON. */
  variables: Record<string, unknown>
  changes: Change[]
  json: Attributes
}

const FORMAT = 'clawctl-sandbox-plan/1'

/** Only the name of the format is checked, because only `savePlan` writes such files. */
const planFileSchema = z.object({
  format: z.literal(FORMAT),
  plan: z.object({
    backend: backendConfigSchema,
    lineage: z.string(),
    serial: z.number(),
    region: z.string(),
    prior: z.string(),
    variables: z.record(z.string(), z.unknown()),
    changes: z.array(z.custom<Change>((value) => typeof value === 'object' && value !== null)),
    json: z.record(z.string(), z.unknown()),
  }),
})

export function savePlan(path: string, plan: SavedPlan): void {
  // It may contain variables and user data, as a real plan.
  writeFileSync(path, `${JSON.stringify({ format: FORMAT, plan })}\n`, { mode: 0o600 })
}

/** @throws Diagnostic if savePlan did not write the file */
export function loadPlan(path: string, given: string): SavedPlan {
  if (!existsSync(path)) {
    throw new Diagnostic(`Failed to load "${given}" as a plan file`, `Error: stat ${given}: no such file or directory`)
  }
  try {
    return planFileSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).plan
  } catch {
    throw new Diagnostic(
      `Failed to load "${given}" as a plan file`,
      'Error: the file is not a plan of the stand-in. Only the real OpenTofu can apply its plans.',
    )
  }
}

/** @throws Diagnostic if it is another state, or the state has changed since the plan */
export function checkFresh(plan: SavedPlan, state: State): void {
  const isFirst = plan.lineage === '' && plan.serial === 0
  if (!isFirst && plan.lineage !== state.lineage) {
    throw new Diagnostic(
      'Saved plan does not match the given state',
      'The given plan file can not be applied because it was created from a different state lineage.',
    )
  }
  if (plan.serial !== state.serial) {
    throw new Diagnostic(
      'Saved plan is stale',
      'The given plan file can no longer be applied because the state was changed by another operation after the plan was created.',
    )
  }
}
