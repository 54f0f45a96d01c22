import { expect } from 'chai'
import fc from 'fast-check'
import type { Deploy } from '../../../src/lib/domain/contract/index.js'
import { NO_MACHINE, parseActive } from '../../../src/lib/domain/deploy/active.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import { type DeployFleetPorts, deployFleet } from '../../../src/lib/ops/deploy/deployFleet.js'
import { recoverFleet } from '../../../src/lib/ops/deploy/recoverFleet.js'
import type { Boot } from '../../support/fakeCloud.js'
import { deployOptions, fakeDirectPlane } from '../../support/fakeDirectPlane.js'
import { NEW, OLD, registryOf } from '../../support/fakes.js'

const IDS = ['a', 'b', 'c']
const RUNS = Number(process.env.RUNS ?? 150)
type Plane = ReturnType<typeof fakeDirectPlane>

class Killed extends Error {}

/** When and how a process ends before its work is done. */
interface End {
  /**
   * The event from which its calls are counted: the process's start, the role without a machine, or the request to
   * EC2 to stop one.
   */
  since: 'begin' | 'handover' | 'fence'
  nth: number
  /** The call has its effect, but its answer does not arrive. */
  after: boolean
  /** Killed immediately; or interrupted, and killed this many calls later, or never. */
  how: 'killed' | 'interrupted' | { killedAfter: number }
}

/**
 * The ports of a process that ends in this way. An interrupted process does not sleep and runs no OpenTofu; every other
 * call works.
 */
function mortal(ports: DeployFleetPorts, end: End): DeployFleetPorts {
  let calls = end.since === 'begin' ? 0 : Number.NEGATIVE_INFINITY
  const killedAt =
    end.how === 'killed' ? end.nth : end.how === 'interrupted' ? Number.NaN : end.nth + end.how.killedAfter
  let dead = false
  const wrap = <T extends object>(port: T, isCut: (name: string | symbol) => boolean = () => false): T =>
    new Proxy(port, {
      get(target, name) {
        const value = Reflect.get(target, name, target)
        if (typeof value !== 'function' || name === 'now') return value
        return async (...args: unknown[]) => {
          if (dead) throw new Killed()
          const begins = end.since === 'fence' ? name === 'stop' : String(args[1]).includes(NO_MACHINE)
          if (calls < 0 && begins) calls = 0
          calls += 1
          if (calls === killedAt) {
            if (end.after) await value.apply(target, args)
            dead = true
            throw new Killed()
          }
          if (end.how === 'killed' || calls < end.nth || !isCut(name)) return value.apply(target, args)
          if (calls === end.nth && end.after) await value.apply(target, args)
          throw new ClawctlError('CANCELLED', 'It was interrupted.')
        }
      },
    })
  const { compute, machines, store, tofu, clock, tidyClock } = ports
  return {
    ...ports,
    compute: wrap(compute),
    machines: wrap(machines),
    store: wrap(store),
    tofu: wrap(tofu, () => true),
    clock: wrap(clock, () => true),
    tidyClock: wrap(tidyClock),
  }
}

type Order = { target: string; requestId: string; amiOverride?: string }

/** The result of a run: the deploy, and the error's code. */
async function run(plane: Plane, order: Order, ports: DeployFleetPorts = plane.ports) {
  try {
    return { code: null, deploy: await deployFleet(order, deployOptions(), ports) }
  } catch (error) {
    if (error instanceof Killed) return { code: 'KILLED', deploy: null }
    const { code, message, partial } = error as ClawctlError
    // Every call of a dead process rejects.
    return {
      code: code === 'INTERNAL' && message === '' ? 'KILLED' : code,
      deploy: (partial?.deploy ?? null) as Deploy | null,
    }
  }
}

/** Takes its lock when the other process, which started in between, has ended. */
const waitingFor = (ports: DeployFleetPorts, other: () => Promise<unknown>): DeployFleetPorts => {
  const { locks } = ports
  let ended: Promise<unknown> | null = null
  const take = async () => {
    ended ??= other()
    await ended
    return locks.take()
  }
  return {
    ...ports,
    locks: {
      run: '',
      held: () => locks.held(),
      release: (id) => locks.release(id),
      take,
      hasStaleDigest: () => locks.hasStaleDigest(),
      dropStaleDigest: () => locks.dropStaleDigest(),
    },
  }
}

const SERVES = new Set(['created', 'replaced', 'kept', 'rolled-back'])

/** A machine that serves by the history runs and may be active, and there is only one. */
function expectTrue(plane: Plane, deploy: Deploy | null): void {
  for (const { id, outcome, instanceId, ami } of deploy?.hosts ?? []) {
    if (!SERVES.has(outcome)) continue
    const host = plane.cloud.hosts.find((one) => one.instanceId === instanceId)
    expect(host, `${id} is said to be ${outcome} with ${instanceId}`).to.include({ id, state: 'running', ami })
    const active = parseActive(plane.store.objects.get(`active/${id}.json`)?.text ?? '')
    if (active) expect(active.instanceId, `${id} is said to be ${outcome}`).to.equal(instanceId)
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

describe('deploys with random failures', () => {
  const boots = fc.constantFrom<Boot>('healthy', 'healthy', 'healthy', 'silent', 'crash', 'bad-token', 'fails-active')
  const end = fc.record<End>({
    since: fc.constantFrom('begin', 'begin', 'handover', 'fence'),
    nth: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 160 })),
    after: fc.boolean(),
    how: fc.oneof(
      fc.constantFrom<End['how']>('killed', 'interrupted'),
      fc.record({ killedAfter: fc.integer({ min: 1, max: 30 }) }),
    ),
  })
  const machine = fc.constantFrom('i-a', 'i-b', 'i-c', 'i-new-1')
  const scenario = fc.record({
    existing: fc.subarray(IDS, { minLength: 1 }),
    newBoots: boots,
    target: fc.constantFrom('a', 'b', 'all'),
    deaf: fc.constantFrom([], ['i-a', 'i-b'], ['i-a', 'i-b', 'i-new-1']),
    lost: fc.option(fc.record({ instanceId: machine, tick: fc.nat(60) }), { freq: 1 }),
    /** By a person, in EC2. */
    stopped: fc.option(fc.record({ instanceId: machine, tick: fc.nat(60) }), { freq: 1 }),
    applyFails: fc.option(fc.record({ nth: fc.integer({ min: 1, max: 4 }), after: fc.boolean() }), { freq: 1 }),
    first: fc.option(end, { freq: 4 }),
    /** A deploy that read the fleet before the first one started, and waited for its lock. */
    beside: fc.option(fc.constantFrom('a', 'b', 'all'), { freq: 1 }),
    second: fc.option(end),
    recovers: fc.boolean(),
  })

  it('never connect two gateways with one token, and leave a serving machine', async () => {
    const seen = new Map<string, number>()
    await fc.assert(
      fc.asyncProperty(scenario, async (scene) => {
        const { existing, newBoots, target, deaf, lost, stopped, applyFails, first, beside, second, recovers } = scene
        const plane = fakeDirectPlane(registryOf(...IDS), existing)
        const { cloud } = plane
        cloud.boots.set(NEW.id, newBoots)
        for (const id of deaf) cloud.deaf.add(id)
        let isOutside = false
        let ticks = 0
        plane.clock.ticks.push(() => {
          ticks += 1
          for (const [what, act] of [
            [lost, (id: string) => cloud.lose(id)],
            [stopped, (id: string) => void cloud.stop(id)],
          ] as const) {
            if (ticks !== what?.tick || !cloud.hosts.some((host) => host.instanceId === what.instanceId)) continue
            isOutside = true
            act(what.instanceId)
          }
        })
        const failing = (after: boolean) => (nth: number) => {
          if (applyFails?.nth !== nth || applyFails.after !== after) return
          throw new ClawctlError('APPLY_FAILED', 'OpenTofu failed.')
        }
        cloud.beforeApply = failing(false)
        cloud.afterApply = failing(true)
        const one = async () => {
          const ended = await run(
            plane,
            { target, requestId: 'request-0001' },
            first ? mortal(plane.ports, first) : plane.ports,
          )
          if (!isOutside) expectTrue(plane, ended.deploy)
          return ended
        }
        let ended = { code: null as string | null }
        if (beside) {
          const order = { target: beside, requestId: 'request-0002' }
          const after = await run(
            plane,
            order,
            waitingFor(plane.ports, async () => {
              ended = await one()
            }),
          )
          if (!isOutside) expectTrue(plane, after.deploy)
        } else ended = await one()
        await pass(plane, 3)
        expectOneGatewayEach(plane)
        const mayEnd = first !== null && first.how !== 'interrupted'
        if ((!mayEnd || beside) && !isOutside) {
          for (const id of existing) expect(cloud.connected(id), `${id} after ${ended.code}`).to.have.length(1)
        }
        if (second) await run(plane, { target, requestId: 'request-0003' }, mortal(plane.ports, second))
        await pass(plane, 3)
        expectOneGatewayEach(plane)
        cloud.beforeApply = () => {}
        cloud.afterApply = () => {}
        if (recovers) {
          const hasServed = (id: string) => {
            const active = parseActive(plane.store.objects.get(`active/${id}.json`)?.text ?? '')
            return active === null || active.instanceId !== NO_MACHINE || active.from !== null
          }
          const runs = (id: string) => cloud.hosts.some((host) => host.id === id && host.state === 'running')
          const ran = existing.filter((id) => hasServed(id) && runs(id))
          await recoverFleet({ id: null, planOnly: false, unlock: null, terminate: null }, plane.ports).catch(
            (error: ClawctlError) => expect(error.code).to.equal('DRIFT'),
          )
          await pass(plane, 3)
          expectOneGatewayEach(plane)
          for (const id of ran) expect(runs(id), `${id} after fleet recover`).to.equal(true)
        }

        // The next deploys, with a working image, of the changed hosts.
        cloud.deaf.clear()
        const last = await run(plane, { target: 'all', requestId: 'request-0004', amiOverride: OLD.id })
        await pass(plane, 2)
        expectOneGatewayEach(plane)
        seen.set(last.code ?? 'done', (seen.get(last.code ?? 'done') ?? 0) + 1)
        expect(last.code, `after ${ended.code}`).to.equal(null)
        for (const id of IDS) expect(cloud.connected(id), `${id} after ${ended.code}`).to.have.length(1)
        expectTrue(plane, last.deploy)
        for (const { id, outcome } of last.deploy?.hosts ?? []) {
          if (outcome !== 'created' && outcome !== 'replaced') continue
          expect(cloud.hosts.filter((host) => host.id === id)).to.have.length(1)
        }
      }),
      {
        verbose: 0,
        includeErrorInReport: true,
        numRuns: RUNS,
        ...(process.env.SEED ? { seed: Number(process.env.SEED) } : {}),
      },
    )
    expect(seen.get('done') ?? 0, `ends: ${JSON.stringify([...seen])}`).to.be.above(RUNS / 3)
  })
})
