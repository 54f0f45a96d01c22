import { expect } from 'chai'
import { inSandbox, type Outcome, type TestSandbox } from './cli.js'

/** The outcome of one command in one sandbox. */
export interface CommandRun {
  outcome: Outcome
  hosts: string[]
  /** EC2 instances that were ever launched. */
  launches: number
  tookMs: number
  /** Requests that each service saw. */
  asked: Record<string, number>
  /** Workflow runs. */
  runs: number
}

export async function runCommand(
  sandbox: TestSandbox,
  as: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<CommandRun> {
  const started = Date.now()
  const outcome = await sandbox.clawctl(as, args, { env })
  return {
    outcome,
    hosts: sandbox.hosts(),
    launches: sandbox.world.instances.size,
    tookMs: Date.now() - started,
    asked: Object.fromEntries(['api', 'ec2', 's3', 'github'].map((name) => [name, sandbox.asked(name)])),
    runs: sandbox.inner.github.runs.length,
  }
}

/** One command in a sandbox with faults, as a story. */
export const withFaults = (faults: readonly string[], as: string, args: readonly string[]) => () =>
  inSandbox({ faults }, (sandbox) => runCommand(sandbox, as, [...args, '--json']))

/** `fleet deploy` on the direct plane. */
export const deployInCi = (sandbox: TestSandbox, args: readonly string[], env?: Record<string, string>) =>
  runCommand(sandbox, 'ci', ['fleet', 'deploy', ...args], env)

/** `id outcome` of each host. */
export const outcomesOf = ({ outcome }: CommandRun): string[] =>
  outcome.json().deploy.hosts.map((host: { id: string; outcome: string }) => `${host.id} ${host.outcome}`)

/** Never two gateways of an id connected at once; says which were connected, in their order. */
export function connected(sandbox: TestSandbox, id: string): string[] {
  const order: string[] = []
  let now: string | null = null
  for (const event of sandbox.world.gateways) {
    if (event.id !== id || !event.acts) continue
    if (event.event === 'stop') now = now === event.instanceId ? null : now
    else {
      expect(now, `connected when ${event.instanceId} connects`).to.equal(null)
      now = event.instanceId
      order.push(now)
    }
  }
  return order
}
