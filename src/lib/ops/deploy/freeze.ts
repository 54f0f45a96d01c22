import type { Freeze, FreezeRequest, IdentityText, UnfreezeRequest } from '../../domain/contract/index.js'
import { FREEZE_KEY, formatFreezes, parseFreezes } from '../../domain/deploy/freeze.js'
import { ClawctlError } from '../../domain/errors.js'
import { findEntry, type Registry } from '../../domain/registry/registry.js'
import { changeObject } from '../changeObject.js'
import type { Clock, ObjectStore } from '../ports.js'

interface FreezePorts {
  store: ObjectStore
  clock: Pick<Clock, 'now'>
}

/**
 * The freezes that apply now.
 * @throws ClawctlError NOT_CONFIGURED if the object is not valid: then every deploy is refused
 */
function freezesIn(text: string | null, now: Date): Freeze[] {
  const freezes = text === null ? [] : parseFreezes(text, now)
  if (freezes) return freezes
  throw new ClawctlError(
    'NOT_CONFIGURED',
    `${FREEZE_KEY} in the bucket is not valid, so it is unknown what is frozen.`,
    {
      hint: 'Delete the object, then repeat the freezes with `clawctl fleet freeze`.',
    },
  )
}

export async function readFreezes(ports: { store: ObjectStore | null; clock: Pick<Clock, 'now'> }): Promise<Freeze[]> {
  const { store, clock } = ports
  return store ? freezesIn((await store.get(FREEZE_KEY))?.text ?? null, clock.now()) : []
}

/** A freeze of the same target is replaced. @throws ClawctlError UNKNOWN_TARGET */
export async function freezeFleet(
  request: Omit<FreezeRequest, 'code'> & { identity: IdentityText },
  ports: FreezePorts & { registry: Registry },
): Promise<Freeze[]> {
  const { target, reason, forSeconds, caller = null, requestedBy = null, identity } = request
  if (target !== 'all' && !findEntry(ports.registry, target)) {
    throw new ClawctlError('UNKNOWN_TARGET', `There is no instance ${JSON.stringify(target)} in the registry.`, {
      hint: 'Name `all` or an id of `clawctl registry list`.',
    })
  }
  const now = ports.clock.now()
  const until = forSeconds === undefined ? null : new Date(now.getTime() + forSeconds * 1000).toISOString()
  const freeze: Freeze = { target, reason, caller, requestedBy, identity, at: now.toISOString(), until }
  return change(ports, (freezes) => [...freezes.filter((one) => one.target !== target), freeze])
}

/** Ends the freeze of exactly this target. @throws ClawctlError NOT_FOUND */
export async function unfreezeFleet(
  { target }: Pick<UnfreezeRequest, 'target'>,
  ports: FreezePorts,
): Promise<Freeze[]> {
  return change(ports, (freezes) => {
    const rest = freezes.filter((one) => one.target !== target)
    if (rest.length < freezes.length) return rest
    const others = freezes.map((one) => one.target).join(', ')
    throw new ClawctlError('NOT_FOUND', `${target === 'all' ? 'The fleet as a whole' : target} is not frozen.`, {
      hint: others ? `Frozen: ${others}.` : 'Nothing is frozen.',
    })
  })
}

async function change({ store, clock }: FreezePorts, next: (freezes: Freeze[]) => Freeze[]): Promise<Freeze[]> {
  let changed: Freeze[] = []
  await changeObject(store, FREEZE_KEY, (text) => {
    changed = next(freezesIn(text, clock.now()))
    return formatFreezes(changed)
  })
  return changed
}
