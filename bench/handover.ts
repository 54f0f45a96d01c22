import { execa } from 'execa'
import type { GatewayEvent } from '../sandbox/aws/world.js'
import { Sandbox } from '../sandbox/sandbox.js'
import { ROOT } from '../test/support/plane.js'

/**
 * How long an instance is without an active gateway, in a deploy of a good and of a bad image, by handover and by
 * replacement, with hosts that boot in 5 s. It has no pass or fail:
 *   npm run bench:handover
 */
const ID = 'clawdinator-1'
const BOOT_MS = 5_000
/** How much faster hosts read the active machine than real ones: see sandbox/hosts.ts. */
const LOOKS = '60 ms in standby and 500 ms when active, for 3 s and 60 s'

interface Measured {
  exit: number
  seconds: number
  /** Time without an active gateway. */
  downMs: number
}

async function measure(strategy: 'handover' | 'replace', bad: boolean): Promise<Measured> {
  const sandbox = await Sandbox.start({
    ...{ packageRoot: ROOT, checkoutRoot: ROOT, registryFile: null, runningIds: [ID], faults: [] },
    ...{ tofu: 'stand-in', env: process.env, hosts: { bootMs: BOOT_MS } },
  })
  try {
    if (bad) sandbox.faults.add({ on: 'host', kind: 'bad-token', id: null })
    const env = { ...(await sandbox.environment({ kind: 'ci' }, process.env)), CLAWCTL_HEALTH_TIMEOUT: '20s' }
    const began = Date.now()
    const args = [`${ROOT}/bin/run.js`, 'fleet', 'deploy', ID, '--strategy', strategy]
    const ran = await execa(process.execPath, args, { env, extendEnv: false, reject: false })
    const ended = Date.now()
    const events = sandbox.world.gateways.filter(({ id }) => id === ID)
    return { exit: ran.exitCode ?? 1, seconds: (ended - began) / 1000, downMs: downTime(events, began, ended) }
  } finally {
    await sandbox.close()
  }
}

/** The part of the time from `began` to `ended` in which no machine's gateway was active. */
function downTime(events: readonly GatewayEvent[], began: number, ended: number): number {
  const acting = new Set<string>()
  let down = 0
  let last = began
  const upTo = (now: number) => {
    if (now > last) {
      if (acting.size === 0) down += now - last
      last = now
    }
  }
  for (const { at, instanceId, event, acts } of events) {
    if (!acts) continue
    upTo(at.getTime())
    if (event === 'start') acting.add(instanceId)
    else acting.delete(instanceId)
    if (acting.size > 1) throw new Error(`two gateways are connected: ${[...acting].join(', ')}`)
  }
  upTo(ended)
  return down
}

process.stdout.write(`Boots of ${BOOT_MS / 1000} s; hosts read the active machine every ${LOOKS}.\n`)
process.stdout.write('strategy  image  exit  deploy   without an active gateway\n')
for (const strategy of ['handover', 'replace'] as const) {
  for (const bad of [false, true]) {
    const { exit, seconds, downMs } = await measure(strategy, bad)
    const cells = [
      strategy.padEnd(8),
      bad ? 'bad  ' : 'good ',
      String(exit).padEnd(4),
      `${seconds.toFixed(1)} s`.padEnd(7),
    ]
    process.stdout.write(`${cells.join('  ')}  ${(downMs / 1000).toFixed(2)} s\n`)
  }
}
