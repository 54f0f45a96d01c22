import type { Freeze, FreezeRequest, IdentityText, UnfreezeRequest } from '../../domain/contract/index.js'
import { FREEZE_KEY, formatFreezes, parseFreezes } from '../../domain/deploy/freeze.js'
import { ClawctlError } from '../../domain/errors.js'
import { findEntry, type Registry } from '../../domain/registry/registry.js'
import type { Clock, ObjectStore } from '../ports.js'

interface FreezePorts {
  store: ObjectStore
  clock: Pick<Clock, 'now'>
}

/** For concurrent writes. */
const ATTEMPTS = 5

/**
 * The freezes that apply now, and the object's entity tag.
 * @throws ClawctlError NOT_CONFIGURED if the object is not valid
 */
async function read({ store, clock }: FreezePorts): Promise<{ freezes: Freeze[]; etag: string | null }> {
  const object = await store.get(FREEZE_KEY)
  if (!object) return { freezes: [], etag: null }
  const freezes = parseFreezes(object.text, clock.now())
  if (freezes) return { freezes, etag: object.etag }
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
  return store ? (await read({ store, clock })).freezes : []
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

async function change(ports: FreezePorts, next: (freezes: Freeze[]) => Freeze[]): Promise<Freeze[]> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { freezes, etag } = await read(ports)
    const changed = next(freezes)
    const text = formatFreezes(changed)
    if (await ports.store.putIf(FREEZE_KEY, text, etag)) return changed
    // The write may have succeeded although its answer was lost.
    if ((await ports.store.get(FREEZE_KEY))?.text === text) return changed
  }
  throw new ClawctlError('UPSTREAM', 'Other requests changed the freezes at the same time.', { hint: 'Try again.' })
}
