import { REQUESTED_BY_PATTERN } from '../../domain/contract/patterns.js'
import { type Assurance, type Identity, isPersonName } from '../../domain/deploy/identity.js'
import { refused, requirePerson } from '../../domain/deploy/policy.js'
import { ClawctlError } from '../../domain/errors.js'
import {
  findPerson,
  formatPeople,
  type Judgement,
  judgeCode,
  PEOPLE_KEY,
  type Person,
  parsePeople,
  withPerson,
} from '../../domain/people/people.js'
import type { Registry } from '../../domain/registry/registry.js'
import { changeObject } from '../changeObject.js'
import type { Clock, ObjectStore } from '../ports.js'

export interface OneTimeCodes {
  /** A new secret (base32), and the URI that authenticators read as a QR code. */
  enrol(name: string): Promise<{ secret: string; uri: string }>
  /** The time step of a right code, or null; in constant time. */
  stepOf(secret: string, code: string, at: Date): Promise<number | null>
}

export interface PeoplePorts {
  store: ObjectStore
  clock: Pick<Clock, 'now'>
  codes: OneTimeCodes
}

/** The sender of a request, before it is verified. */
export interface Asker {
  /** `verified` by a token of its own, else `claimed` or `none`. */
  host: Assurance
  requestedBy: string | undefined
  code: string | undefined
}

/** For concurrent writes. */
const ATTEMPTS = 5
/** Used for a name that is not enrolled, so that the time of the answer does not reveal it. */
const PLACEHOLDER_SECRET = 'A'.repeat(32)

/** @throws ClawctlError NOT_CONFIGURED if the object is not valid: then no person can be verified */
function peopleIn(text: string | null): Person[] {
  const people = text === null ? [] : parsePeople(text)
  if (people) return people
  throw new ClawctlError('NOT_CONFIGURED', `${PEOPLE_KEY} in the bucket does not list people.`, {
    hint: 'Restore an earlier version of the object, or delete it and enrol every person again.',
  })
}

async function readPeople(store: ObjectStore): Promise<{ people: Person[]; etag: string | null }> {
  const object = await store.get(PEOPLE_KEY)
  return { people: peopleIn(object?.text ?? null), etag: object?.etag ?? null }
}

/**
 * The identity of the sender, and whether any person is enrolled.
 * @param purpose what the code is for: the same code with the same purpose is a repeated request
 * @param needed whether only a person may ask; otherwise a request without a code reads no object
 * @throws ClawctlError CODE_WRONG, CODE_LOCKED
 */
export async function identify(
  asker: Asker,
  { purpose, needed }: { purpose: string; needed: boolean },
  ports: Omit<PeoplePorts, 'store'> & { store: ObjectStore | null },
): Promise<{ identity: Identity; enrolled: boolean }> {
  const { host, requestedBy, code } = asker
  const claimed: Identity = { host, person: requestedBy ? 'claimed' : 'none' }
  const { store } = ports
  if (code === undefined && (!needed || !store)) return { identity: claimed, enrolled: false }
  if (code === undefined && store) return { identity: claimed, enrolled: (await readPeople(store)).people.length > 0 }
  if (!store || !requestedBy) throw wrongCode(requestedBy)
  await checkCode(requestedBy, code ?? '', purpose, { ...ports, store })
  return { identity: { host, person: 'verified' }, enrolled: true }
}

async function checkCode(name: string, code: string, purpose: string, ports: PeoplePorts): Promise<void> {
  const { store, clock, codes } = ports
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { people, etag } = await readPeople(store)
    const person = findPerson(people, name)
    const now = clock.now()
    const step = await codes.stepOf(person?.secret ?? PLACEHOLDER_SECRET, code, now)
    if (!person) throw wrongCode(name)
    const judged = judgeCode(person, step, purpose, now)
    if (judged.person !== person) {
      // Written before the answer: of two requests with one code only one succeeds in writing; the other reads again.
      const written = await store.putIf(PEOPLE_KEY, formatPeople(withPerson(people, judged.person)), etag)
      if (!written) continue
    }
    return throwUnlessRight(judged, name, now)
  }
  throw new ClawctlError(
    'UPSTREAM',
    'The code could not be checked: other requests changed the list of people at the same time.',
    {
      hint: 'Try again with the next code.',
    },
  )
}

function throwUnlessRight({ verdict, person }: Judgement, name: string, now: Date): void {
  if (verdict === 'right') return
  if (verdict === 'wrong') throw wrongCode(name)
  const seconds = Math.ceil((Date.parse(person.lockedUntil ?? '') - now.getTime()) / 1000)
  throw new ClawctlError('CODE_LOCKED', `Too many wrong codes: ${JSON.stringify(name)} is locked for ${seconds} s.`, {
    hint: 'Wait, then use a new code; a maintainer removes and adds the name to unlock it.',
    retryAfterS: seconds,
  })
}

function wrongCode(name: string | undefined): ClawctlError {
  if (!name) {
    return new ClawctlError('CODE_WRONG', 'The request has a code, but not the name of its person.', {
      hint: 'Pass the name with --requested-by.',
    })
  }
  return new ClawctlError(
    'CODE_WRONG',
    `The code does not verify ${JSON.stringify(name)}: it is wrong, expired or used, or no person of that name is enrolled.`,
    { hint: 'Wait for the next code of the authenticator. Five wrong ones lock the name for 15 minutes.' },
  )
}

/** @throws ClawctlError PERSON_REQUIRED, CODE_REQUIRED, CODE_WRONG, CODE_LOCKED */
export async function identifyPerson(
  asker: Asker,
  { purpose, what }: { purpose: string; what: string },
  ports: Omit<PeoplePorts, 'store'> & { store: ObjectStore | null },
): Promise<Identity> {
  const { identity, enrolled } = await identify(asker, { purpose, needed: true }, ports)
  const refusal = requirePerson(identity, enrolled, what)
  if (refusal) throw refused(refusal)
  return identity
}

export async function listPeople({ store, clock }: Omit<PeoplePorts, 'codes'>) {
  const { people } = await readPeople(store)
  const now = clock.now().getTime()
  return people.map(({ name, enrolledAt, lockedUntil }) => ({
    name,
    enrolledAt,
    lockedUntil: lockedUntil !== null && now < Date.parse(lockedUntil) ? lockedUntil : null,
  }))
}

/**
 * Enrols a person. The secret leaves the bucket only once, in the returned URI.
 * @throws ClawctlError INVALID_REQUEST if the name can't be a person's, USAGE if it is enrolled
 */
export async function addPerson(
  name: string,
  { registry, ...ports }: PeoplePorts & { registry: Registry },
): Promise<{ name: string; uri: string }> {
  const ids = registry.map(({ id }) => id)
  if (!REQUESTED_BY_PATTERN.test(name) || !isPersonName(name, ids)) {
    throw new ClawctlError('INVALID_REQUEST', `${JSON.stringify(name)} can't be the name of a person.`, {
      hint: 'Use the name that the person has in chats: one line of at most 64 characters.',
    })
  }
  const { secret, uri } = await ports.codes.enrol(name)
  const enrolledAt = ports.clock.now().toISOString()
  await changePeople(ports.store, (people) => {
    if (findPerson(people, name)) {
      throw new ClawctlError('USAGE', `${JSON.stringify(name)} is enrolled already.`, {
        hint: 'For a new phone, remove the name first: clawctl people remove NAME.',
      })
    }
    return [...people, { name, secret, enrolledAt, used: null, wrong: 0, lockedUntil: null }]
  })
  return { name, uri }
}

/** @throws ClawctlError NOT_FOUND */
export async function removePerson(name: string, store: ObjectStore): Promise<{ name: string; left: number }> {
  let left = 0
  await changePeople(store, (people) => {
    const person = findPerson(people, name)
    if (!person) {
      throw new ClawctlError('NOT_FOUND', `No person is enrolled as ${JSON.stringify(name)}.`, {
        hint: '`clawctl people list` shows the names.',
      })
    }
    const rest = people.filter((one) => one !== person)
    left = rest.length
    return rest
  })
  return { name, left }
}

const changePeople = (store: ObjectStore, change: (people: Person[]) => Person[]) =>
  changeObject(store, PEOPLE_KEY, (text) => formatPeople(change(peopleIn(text))))
