import * as z from 'zod/mini'
import { foldName } from '../deploy/identity.js'
import { parseAs } from '../json.js'

/** The enrolled people with the secrets of their one-time codes. Only the Control API and maintainers may read it. */
export const PEOPLE_KEY = 'control/people/people.json'

const personSchema = z.object({
  name: z.string(),
  /** Base32, the form for authenticators. */
  secret: z.string(),
  enrolledAt: z.string(),
  /** The last accepted code, by its time step, and its purpose: the same code and purpose is a repeated request. */
  used: z.nullable(z.object({ step: z.number(), purpose: z.string() })),
  /** Wrong codes since the last right one. */
  wrong: z.number(),
  lockedUntil: z.nullable(z.string()),
})
const peopleSchema = z.object({ schema: z.literal(1), people: z.array(personSchema) })
export type Person = z.infer<typeof personSchema>

/** Null if the text is not valid. */
export function parsePeople(text: string): Person[] | null {
  return parseAs(peopleSchema, text)?.people ?? null
}

export const formatPeople = (people: readonly Person[]) => JSON.stringify({ schema: 1, people })

export const findPerson = (people: readonly Person[], name: string) =>
  people.find((person) => foldName(person.name) === foldName(name))

export const withPerson = (people: readonly Person[], changed: Person) =>
  people.map((person) => (person.name === changed.name ? changed : person))

const MAX_WRONG = 5
const LOCKED_MS = 15 * 60_000

export interface Judgement {
  verdict: 'right' | 'wrong' | 'locked'
  /** The person after the check; the same object if nothing changed. */
  person: Person
}

/**
 * Accepts a code once, and no code older than the last one; the same request may repeat it. Five wrong codes lock the name
 * for 15 minutes, also for right codes.
 * @param step the time step of the code, or null for a wrong code
 */
export function judgeCode(person: Person, step: number | null, purpose: string, now: Date): Judgement {
  if (person.lockedUntil !== null && now.getTime() < Date.parse(person.lockedUntil)) {
    return { verdict: 'locked', person }
  }
  const { used } = person
  if (step !== null && used?.step === step && used.purpose === purpose) return { verdict: 'right', person }
  if (step !== null && (used === null || step > used.step)) {
    return { verdict: 'right', person: { ...person, used: { step, purpose }, wrong: 0, lockedUntil: null } }
  }
  const wrong = person.wrong + 1
  if (wrong < MAX_WRONG) return { verdict: 'wrong', person: { ...person, wrong, lockedUntil: null } }
  const lockedUntil = new Date(now.getTime() + LOCKED_MS).toISOString()
  return { verdict: 'wrong', person: { ...person, wrong: 0, lockedUntil } }
}
