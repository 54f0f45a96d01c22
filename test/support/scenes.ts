import fc from 'fast-check'
import { LATEST_AMI, OLDER_AMI } from './cli.js'

const IDS = ['a', 'b', 'c']
/** Moments of a command, and how many of each the deploy of one or two hosts has. */
const MOMENTS = {
  /** To any service. */
  request: 150,
  /** Starts or stops, in standby or active. */
  gateway: 6,
  /** Active machines written. */
  role: 5,
  /** Records written. */
  record: 25,
  /** State or its lock written. */
  state: 6,
  launch: 2,
  terminate: 2,
  stop: 1,
} as const
export type Moment = keyof typeof MOMENTS

export type Act =
  | { kind: 'kill' }
  | { kind: 'cancel' }
  | { kind: 'fleet-cancel' }
  /** By a person in EC2: the nth of the fleet's machines then. */
  | { kind: 'lose'; nth: number }
  | { kind: 'stop'; nth: number }
  | { kind: 'fault'; fault: string }

interface Strike {
  at: { moment: Moment; nth: number }
  act: Act
}

export interface Command {
  as: 'laptop' | 'ci'
  words: string[]
  /** Before the command: an id enters or leaves the registry, or gets another instance type. */
  edit: { id: string; to: 'in' | 'out' | 't3.xlarge' } | null
  /** While the command runs, and not after it. */
  faults: string[]
  strikes: Strike[]
}

export interface Scene {
  registry: string[]
  running: string[]
  /** From SIGINT to SIGTERM, and from there to SIGKILL: GitHub's own, the sandbox's, and hardly any. */
  grace: [number, number]
  commands: Command[]
  /** The last deploy has a newer image, or the latest by its id. */
  ends: 'newer' | 'latest'
}

const id = fc.constantFrom(...IDS)
/** Null, but for one time in so many. */
const rarely = <T>(arbitrary: fc.Arbitrary<T>, times: number) =>
  fc.oneof({ weight: 1, arbitrary }, { weight: times - 1, arbitrary: fc.constant(null) })
const httpFault = fc
  .tuple(
    fc.constantFrom('ec2', 's3', 'github', 'api'),
    fc.constantFrom('throttle', 'error', 'reset'),
    fc.oneof(fc.constant(0), fc.nat(120)),
    fc.constantFrom('1', '2', '2', '2', '5', 'always'),
  )
  .map(([service, kind, after, strikes]) => `${service}:${kind}@${after}=${strikes}`)
const hostFault = fc
  .tuple(
    fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom('unhealthy', 'crash', 'bad-token', 'bad-switch') },
      { weight: 3, arbitrary: fc.constantFrom('dead', 'impaired', 'mute', 'bad-bundle') },
      { weight: process.env.FENCES ? 6 : 0, arbitrary: fc.constant('no-yield') },
    ),
    fc.option(id),
  )
  .map(([kind, of]) => (of === null && kind !== 'no-yield' ? `host:${kind}` : `host:${kind}=${of ?? 'a'}`))
const runnerFault = fc
  .constantFrom('health', 'role', 'policy', 'profile', 'apply', 'terminate')
  .map((moment) => `runner:dies=${moment}`)

const moment = fc.oneof(
  ...(Object.keys(MOMENTS) as Moment[]).map((one) => ({
    weight: one === 'role' || one === 'gateway' ? 4 : 2,
    arbitrary: fc.record({ moment: fc.constant(one), nth: fc.integer({ min: 1, max: MOMENTS[one] }) }),
  })),
)
const act = fc.oneof<fc.MaybeWeightedArbitrary<Act>[]>(
  { weight: 3, arbitrary: fc.constant({ kind: 'kill' }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'cancel' }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'fleet-cancel' }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('lose', 'stop'), nth: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('fault' as const), fault: fc.oneof(httpFault, hostFault) }) },
)
const strike: fc.Arbitrary<Strike> = fc.record({ at: moment, act })

const words = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(
        fc.oneof(id, fc.constant('all')),
        fc.constantFrom<string[]>([], [], [], ['--ami', OLDER_AMI], ['--ami', LATEST_AMI]),
        fc.constantFrom<string[]>([], [], [], ['--strategy', 'replace']),
      )
      .map(([target, ami, strategy]) => ['deploy', target, ...ami, ...strategy]),
  },
  { weight: 1, arbitrary: fc.oneof(id, fc.constant('all')).map((target) => ['rollback', target]) },
  { weight: 1, arbitrary: fc.constant<string[]>(['recover']) },
)

const command: fc.Arbitrary<Command> = fc.record({
  as: fc.constantFrom('laptop', 'laptop', 'ci'),
  words,
  edit: rarely(fc.record({ id, to: fc.constantFrom('in', 'out', 't3.xlarge' as const) }), 5),
  faults: fc
    .tuple(rarely(hostFault, 3), rarely(httpFault, 4), rarely(runnerFault, 6))
    .map((all) => all.filter((one) => one !== null)),
  strikes: fc.oneof(
    { weight: 1, arbitrary: fc.constant<Strike[]>([]) },
    { weight: 4, arbitrary: fc.tuple<Strike[]>(strike) },
    { weight: 2, arbitrary: fc.tuple<Strike[]>(strike, strike) },
  ),
})

export const scene: fc.Arbitrary<Scene> = fc
  .record({
    registry: fc.subarray(IDS, { minLength: 1 }),
    running: fc.oneof({ weight: 1, arbitrary: fc.subarray(IDS) }, { weight: 3, arbitrary: fc.constant(IDS) }),
    grace: fc.constantFrom<[number, number]>([7500, 2500], [1000, 1000], [100, 100]),
    commands: fc.oneof(...[1, 2, 3].map((count) => fc.array(command, { minLength: count, maxLength: count }))),
    ends: fc.constantFrom('newer', 'latest'),
  })
  .map(({ registry, running, commands, ...rest }) => {
    const known = (one: string) => one.length !== 1 || registry.includes(one)
    const named = (words: string[]) => words.map((word) => (known(word) ? word : (registry[0] ?? word)))
    const aimed = commands.map((one) => (one.edit?.to === 'in' ? one : { ...one, words: named(one.words) }))
    // Nothing to recover yet, and nothing to roll back to.
    if (aimed[0]?.words[0] !== 'deploy')
      aimed[0] = { ...(aimed[0] as Command), words: ['deploy', registry[0] as string] }
    return { ...rest, registry, running: running.filter(known), commands: aimed }
  })

/** Every registry that a scene can have, so that each id has a bundle. */
export function registryText(entries: ReadonlyMap<string, string>): string {
  const of = (one: string, instanceType: string) => {
    return { host: one, instanceType, bootstrapPrefix: `bootstrap/${one}`, discordTokenSecret: `token-${one}` }
  }
  return JSON.stringify(Object.fromEntries([...entries].map(([one, type]) => [one, of(one, type)])), null, 2)
}

export const EVERY_ID: ReadonlyMap<string, string> = new Map(IDS.map((one) => [one, 't3.large']))
