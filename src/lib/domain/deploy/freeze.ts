import * as z from 'zod/mini'
import { type Freeze, freezeSchema } from '../contract/freeze.js'
import { ClawctlError } from '../errors.js'
import { parseAs } from '../json.js'
import { identityOf } from './identity.js'

/** The freezes: the Control API and CI read them before each deploy. */
export const FREEZE_KEY = 'control/freeze.json'

const freezesSchema = z.object({ schema: z.literal(1), freezes: z.array(freezeSchema) })

/** The freezes that apply now; null if the text is not valid. */
export function parseFreezes(text: string, now: Date): Freeze[] | null {
  return parseAs(freezesSchema, text)?.freezes.filter((freeze) => isHolding(freeze, now)) ?? null
}

export const formatFreezes = (freezes: readonly Freeze[]) => JSON.stringify({ schema: 1, freezes })

const isHolding = ({ until }: Freeze, now: Date) => until === null || now.getTime() < Date.parse(until)

/** The freeze that blocks the target: of itself or of all; for `all`, of any instance. */
export function freezeOf(freezes: readonly Freeze[], target: string): Freeze | undefined {
  return freezes.find((freeze) => freeze.target === 'all' || target === 'all' || freeze.target === target)
}

/** As in "clawdinator-1 is frozen …". */
export function describeFreeze(freeze: Freeze): string {
  const { person } = identityOf(freeze)
  const by = `by ${freeze.requestedBy ?? 'a person'} (${person})${freeze.caller ? ` via ${freeze.caller}` : ''}`
  const until =
    freeze.until === null ? 'until a person ends it' : `until ${freeze.until.slice(0, 16).replace('T', ' ')} UTC`
  return `${by} ${until}: ${freeze.reason}`
}

/** @throws ClawctlError FROZEN */
export function refuseFrozen(freezes: readonly Freeze[], target: string): void {
  const freeze = freezeOf(freezes, target)
  if (!freeze) return
  const what = freeze.target === 'all' ? 'The fleet' : freeze.target
  throw new ClawctlError('FROZEN', `${what} is frozen ${describeFreeze(freeze)}. Nothing was changed.`, {
    hint: `Wait, or ask ${freeze.requestedBy ?? 'a maintainer'}: \`clawctl fleet unfreeze ${freeze.target}\` ends it.`,
  })
}
