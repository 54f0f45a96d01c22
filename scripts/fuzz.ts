import * as fc from 'fast-check'
import { anyEvent, createProbe } from '../test/lambda/fuzz.js'

/**
 * Generated Function URL events against the handler, until one throws, answers 5xx or leaks a token:
 *   npm run fuzz [COUNT] [SEED]
 */
const COUNT = Number(process.argv[2] ?? 200_000)
const SEED = Number(process.argv[3] ?? Date.now() % 0x7fffffff)
if (![COUNT, SEED].every(Number.isSafeInteger)) throw new Error('npm run fuzz [COUNT] [SEED], both whole numbers')
process.stdout.write(`${COUNT} events, seed ${SEED}\n`)

const probe = createProbe()
const seen = new Map<number, number>()
const started = performance.now()
await fc.assert(
  fc.asyncProperty(anyEvent, async (event) => {
    const status = await probe(event)
    seen.set(status, (seen.get(status) ?? 0) + 1)
  }),
  { numRuns: COUNT, seed: SEED },
)
const seconds = (performance.now() - started) / 1000
const counts = [...seen].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`)
process.stdout.write(`no throw, no 5xx, no token in ${seconds.toFixed(0)} s; ${counts.join(', ')}\n`)
