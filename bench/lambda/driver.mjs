import { channel } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'

/**
 * One execution environment: loads the built handler as Lambda does and sends it events, one after the other. Its
 * figures go to stdout as JSON. The own time of a request is its time without the time in which at least one of the
 * function's upstream requests was in flight.
 */
const { module, event, runs, warmup, memory } = JSON.parse(process.argv[2])

let under = 0
let since = 0
let waited = 0
let upstream = 0
const change = (by) => {
  const now = performance.now()
  if (under > 0) waited += now - since
  since = now
  under += by
}
channel('http.client.request.start').subscribe(({ request }) => {
  upstream += 1
  change(1)
  request.once('close', () => change(-1))
})

// Only figures go to stdout, not the handler's log.
const print = process.stdout.write.bind(process.stdout)
process.stdout.write = () => true
const { handler } = await import(module)

const ask = async () => {
  waited = 0
  upstream = 0
  const cpu = process.cpuUsage()
  const started = performance.now()
  const { statusCode } = await handler(structuredClone(event))
  const total = performance.now() - started
  const { user, system } = process.cpuUsage(cpu)
  return { statusCode, total, own: total - waited, upstream, cpu: (user + system) / 1000 }
}
const memoryNow = () => {
  globalThis.gc()
  globalThis.gc()
  const statm = readFileSync('/proc/self/statm', 'utf8').split(' ')
  return { heapKb: process.memoryUsage().heapUsed / 1024, pages: Number(statm[1]) }
}

const first = await ask()
for (let run = 1; run < warmup; run += 1) await ask()
const samples = []
const memories = memory ? [memoryNow()] : []
for (let run = 0; run < runs; run += 1) {
  const sample = await ask()
  if (memory ? (run + 1) % (runs / 10) === 0 : true) {
    if (memory) memories.push(memoryNow())
    else samples.push(sample)
  }
}
print(JSON.stringify({ first, samples, memories }), () => process.exit())
