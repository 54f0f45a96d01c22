import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { ClawctlError } from '../src/lib/domain/errors.js'
import type { TofuChoice } from '../src/lib/domain/sandboxOptions.js'

export interface ChosenTofu {
  kind: 'script' | 'program'
  path: string
  title: string
}

/**
 * The `tofu` of the direct plane. `auto` is the stand-in, because the sandbox's AWS does not support all IAM and VPC calls
 * of the real AWS provider. `real` is for tests of that provider.
 * @throws ClawctlError TOOL_MISSING
 */
export function chooseTofu(choice: TofuChoice, standIn: string, path: string): ChosenTofu {
  if (choice !== 'real') return { kind: 'script', path: standIn, title: "the sandbox's stand-in for OpenTofu" }
  const found = path.split(delimiter).find((folder) => folder && isExecutable(join(folder, 'tofu')))
  if (found === undefined) {
    throw new ClawctlError('TOOL_MISSING', 'There is no tofu in PATH.', {
      hint: 'Install OpenTofu 1.10 or newer, or leave --tofu real out.',
    })
  }
  return { kind: 'program', path: join(found, 'tofu'), title: `OpenTofu at ${join(found, 'tofu')}` }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
