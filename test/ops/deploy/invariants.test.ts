import { expect } from 'chai'
import fc from 'fast-check'
import type { Deploy } from '../../../src/lib/domain/contract/index.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { type DeployFleetPorts, deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import { type Boot, deployOptions, fakeDirectPlane } from '../../support/fakeCloud.js'
import { NEW, OLD, registryOf } from '../../support/fakes.js'

const IDS = ['a', 'b', 'c']
const RUNS = Number(process.env.RUNS ?? 150)
type Plane = ReturnType<typeof fakeDirectPlane>

class Killed extends Error {}

/** The ports of a process that is killed at its nth call: before the call does anything, or before its answer arrives. */
function mortal(ports: DeployFleetPorts, nth: number, after: boolean): DeployFleetPorts {
  let calls = 0
  let dead = false
  const wrap = <T extends object>(port: T): T =>
    new Proxy(port, {
      get(target, name) {
        const value = Reflect.get(target, name, target)
        if (typeof value !== 'function' || name === 'now') return value
        return async (...args: unknown[]) => {
          if (dead) throw new Killed()
          calls += 1
          if (calls !== nth) return value.apply(target, args)
          if (after) await value.apply(target, args)
          dead = true
          throw new Killed()
        }
      },
    })
  const { compute, machines, store, tofu, clock } = ports
  return {
    ...ports,
    compute: wrap(compute),
    machines: wrap(machines),
    store: wrap(store),
    tofu: wrap(tofu),
    clock: wrap(clock),
  }
}

/** What a run ends with: the deploy, and the error's code. */
async function run(
  plane: Plane,
  order: { target: string; requestId: string; amiOverride?: string },
  kill?: [number, boolean],
) {
  const ports = kill ? mortal(plane.ports, ...kill) : plane.ports
  try {
    return { code: null, deploy: await deployFleet(order, deployOptions(), ports) }
  } catch (error) {
    if (error instanceof Killed) return { code: 'KILLED', deploy: null }
    const { code, message, partial } = error as ClawctlError
    // What a dead process still calls says that it is dead.
    return {
      code: code === 'INTERNAL' && message === '' ? 'KILLED' : code,
      deploy: (partial?.deploy ?? null) as Deploy | null,
    }
  }
}

function expectOneGatewayEach(plane: Plane): void {
  const connected = new Map<string, string>()
  for (const { id, instanceId, event } of plane.cloud.gateways) {
    if (event === 'stop') connected.delete(id)
    else {
      expect(connected.get(id), `${id}: connected when ${instanceId} connects`).to.equal(undefined)
      connected.set(id, instanceId)
    }
  }
}

async function pass(plane: Plane, minutes: number): Promise<void> {
  for (let i = 0; i < minutes * 20; i += 1) await plane.clock.sleep(3_000)
}

describe('whatever happens to deploys', () => {
  const boots = fc.constantFrom<Boot>('healthy', 'healthy', 'healthy', 'silent', 'crash', 'bad-token', 'fails-active')
  const scenario = fc.record({
    existing: fc.subarray(IDS),
    newBoots: boots,
    target: fc.constantFrom('a', 'b', 'all'),
    deaf: fc.subarray(['i-a', 'i-b', 'i-new-1']),
    lost: fc.option(fc.record({ instanceId: fc.constantFrom('i-a', 'i-b', 'i-c', 'i-new-1'), tick: fc.nat(60) })),
    applyFails: fc.option(fc.record({ nth: fc.integer({ min: 1, max: 4 }), after: fc.boolean() })),
    kill: fc.option(fc.tuple(fc.integer({ min: 1, max: 160 }), fc.boolean()), { freq: 4 }),
    killAgain: fc.option(fc.tuple(fc.integer({ min: 1, max: 120 }), fc.boolean())),
  })

  it('never are two gateways connected with one token, and what served serves when a deploy has ended', async () => {
    const seen = new Map<string, number>()
    await fc.assert(
      fc.asyncProperty(scenario, async ({ existing, newBoots, target, deaf, lost, applyFails, kill, killAgain }) => {
        const plane = fakeDirectPlane(registryOf(...IDS), existing)
        const { cloud } = plane
        cloud.boots.set(NEW.id, newBoots)
        for (const id of deaf) cloud.deaf.add(id)
        const gone = new Set<string>()
        let ticks = 0
        plane.clock.ticks.push(() => {
          ticks += 1
          if (lost && ticks === lost.tick && cloud.hosts.some((host) => host.instanceId === lost.instanceId)) {
            gone.add(lost.instanceId)
            cloud.lose(lost.instanceId)
          }
        })
        const failing = (after: boolean) => (nth: number) => {
          if (applyFails?.nth !== nth || applyFails.after !== after) return
          throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
        }
        cloud.beforeApply = failing(false)
        cloud.afterApply = failing(true)
        const first = await run(plane, { target, requestId: 'request-0001' }, kill ?? undefined)
        await pass(plane, 3)
        if (!kill && gone.size === 0) {
          for (const id of existing) expect(cloud.connected(id), `${id} after ${first.code}`).to.have.length(1)
        }
        if (killAgain) await run(plane, { target, requestId: 'request-0002' }, killAgain)
        await pass(plane, 3)
        expectOneGatewayEach(plane)

        // The next deploys, with an image that is known to work, of what was touched.
        cloud.deaf.clear()
        cloud.beforeApply = () => {}
        cloud.afterApply = () => {}
        const last = await run(plane, { target: 'all', requestId: 'request-0003', amiOverride: OLD.id })
        await pass(plane, 2)
        expectOneGatewayEach(plane)
        seen.set(last.code ?? 'done', (seen.get(last.code ?? 'done') ?? 0) + 1)
        expect(last.code, `after ${first.code}`).to.equal(null)
        for (const id of IDS) expect(cloud.connected(id), `${id} after ${first.code}`).to.have.length(1)
        for (const { id, outcome, instanceId } of last.deploy?.hosts ?? []) {
          if (outcome !== 'created' && outcome !== 'replaced') continue
          expect(cloud.connected(id), `${id} is said to be ${outcome}`).to.deep.equal([instanceId])
          expect(cloud.hosts.filter((host) => host.id === id)).to.have.length(1)
        }
      }),
      {
        verbose: 0,
        includeErrorInReport: true,
        numRuns: Number(process.env.RUNS ?? 150),
        ...(process.env.SEED ? { seed: Number(process.env.SEED) } : {}),
      },
    )
    expect(seen.get('done') ?? 0, `ends: ${JSON.stringify([...seen])}`).to.be.above(RUNS / 3)
  })
})
