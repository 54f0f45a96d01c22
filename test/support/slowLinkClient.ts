import dns from 'node:dns'
import { get } from 'node:http'
import { createControlApi } from '../../src/lib/adapters/deploy/controlApi.js'

/** Asks for the fleet over a dual-stack name, as clawctl does or (`plain`) as Node does by itself: slowLinkClient.ts PORT [plain] */
const [port, plain] = process.argv.slice(2)
const url = `http://fleet.example:${port}`
const addresses = [
  { address: '10.97.0.1', family: 4 },
  { address: 'fd97::1', family: 6 },
]
// As getaddrinfo sorts them: what there is a route to comes first.
if (process.env.DEAD_IPV6) addresses.reverse()
dns.lookup = ((_host: string, _options: object, done: (error: null, found: typeof addresses) => void) =>
  done(null, addresses)) as unknown as typeof dns.lookup

if (plain) {
  const request = get(url, () => process.exit(0))
  request.on('error', (error) => {
    process.stdout.write(String((error as NodeJS.ErrnoException).code))
    process.exit(1)
  })
} else {
  const { instances } = await createControlApi({ url, token: 'cct_slow', userAgent: 'clawctl/test' }).fleet()
  process.stdout.write(`${instances.length} instances`)
  process.exit(0)
}
