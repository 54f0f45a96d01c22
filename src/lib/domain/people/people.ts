import * as z from 'zod/mini'
import { foldName } from '../deploy/identity.js'
import { parseJson } from '../json.js'

/** Who can be verified as a person, with what their one-time codes are made of: for the Control API and maintainers. */
export const PEOPLE_KEY = 'control/people/people.json'

const personSchema = z.object({
  name: z.string(),
  /** Base32, as authenticators take it. */
  secret: z.string(),
  enrolledAt: z.string(),
  /** The last code that was taken, by its time step, and what it was taken for: asked again, that is the same request. */
  used: z.nullable(z.object({ step: z.number(), purpose: z.string() })),
  /** Wrong codes since the last right one. */
  wrong: z.number(),
  lockedUntil: z.nullable(z.string()),
})
const peopleSchema = z.object({ schema: z.literal(1), people: z.array(personSchema) })
export type Person = z.infer<typeof personSchema>

/** Null for what is no such object. */
export function parsePeople(text: string): Person[] | null {
  const parsed = peopleSchema.safeParse(parseJson(text))
  return parsed.success ? parsed.data.people : null
}

export const formatPeople = (people: readonly Person[]) => JSON.stringify({ schema: 1, people })

export const findPerson = (people: readonly Person[], name: string) =>
  people.find((person) => foldName(person.name) === foldName(name))

export const withPerson = (people: readonly Person[], changed: Person) =>
  people.map((person) => (person.name === changed.name ? changed : person))

const MOST_WRONG = 5
const LOCKED_MS = 15 * 60_000

export interface Judgement {
  verdict: 'right' | 'wrong' | 'locked'
  /** What is known of the person afterwards; the same object where nothing changed. */
  person: Person
}

/**
 * A code is taken once, and none that is older than the last; the same request may come again with it. Five wrong ones
 * lock the name for 15 minutes, right codes included.
 * @param step the time step that the code belongs to, or null for a wrong code
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
  if (wrong < MOST_WRONG) return { verdict: 'wrong', person: { ...person, wrong, lockedUntil: null } }
  const lockedUntil = new Date(now.getTime() + LOCKED_MS).toISOString()
  return { verdict: 'wrong', person: { ...person, wrong: 0, lockedUntil } }
}
