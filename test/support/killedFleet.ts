import { CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { expect } from 'chai'
import { ProcessGroups, TRACKING_VARIABLE } from '../../sandbox/github/process.js'
import { type Answer, startFailingProxy } from './failingProxy.js'
import { MOTO_URL, startFleetOnMoto } from './moto.js'
import { json, startServer } from './server.js'

export const STATE = 'state/fleet.tfstate'
const TABLE = 'locks'
export const RUNS = 'https://github.com/openclaw/clawdinators/actions/runs'

interface Command {
  id: number
  /** Sends SIGINT to clawctl alone, as a cancelled job does. */
  interrupt(): void
  /** SIGKILL for clawctl, OpenTofu and its provider. Resolves when none of them runs. */
  kill(): Promise<void>
  said(): string
  ended: Promise<{ code: number | null; stdout: string; all: string }>
}

/**
 * A fleet on moto whose commands are runs of a workflow that can be killed, with a lock table, a GitHub that knows which of
 * them go on, and a proxy before moto at whose requests a test acts.
 */
export async function startKilledFleet() {
  const fleet = await startFleetOnMoto()
  const proxy = await startFailingProxy(MOTO_URL)
  let runs = 0
  let onGithub = () => {}
  /** Runs that GitHub reports as in progress. */
  const alive = new Set<number>()

  /** A run as GitHub's API shows it. */
  const runOf = (id: number) => {
    const isAlive = alive.has(id)
    const at = new Date().toISOString()
    return {
      ...{ id, html_url: `${RUNS}/${id}`, display_title: 'fleet-deploy', run_attempt: 1 },
      ...{ status: isAlive ? 'in_progress' : 'completed', conclusion: isAlive ? null : 'failure' },
      ...{ created_at: at, run_started_at: at, updated_at: at },
    }
  }

  const github = await startServer((response, request) => {
    onGithub()
    const id = Number(/\/actions\/runs\/(\d+)$/.exec(request.url ?? '')?.[1])
    json(id ? 200 : 404, id ? runOf(id) : { message: 'Not Found' })(response, request)
  })
  await new DynamoDBClient({ region: fleet.region }).send(
    new CreateTableCommand({
      TableName: TABLE,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [{ AttributeName: 'LockID', AttributeType: 'S' }],
      KeySchema: [{ AttributeName: 'LockID', KeyType: 'HASH' }],
    }),
  )

  /** `clawctl …` as the only step of a workflow's run. */
  function begin(...args: string[]): Command {
    const id = ++runs
    alive.add(id)
    const tracking = `moto-${process.pid}-${id}`
    const begun = fleet.begin(args, {
      ...{ AWS_ENDPOINT_URL: proxy.url, GITHUB_API_URL: github.url, GITHUB_RUN_ID: String(id) },
      ...{ TOFU_LOCK_TABLE: TABLE, [TRACKING_VARIABLE]: tracking },
    })
    const ended = begun.ended.finally(() => alive.delete(id))
    return {
      ...{ id, said: begun.said, ended },
      interrupt: () => void process.kill(begun.pid, 'SIGINT'),
      kill: async () => {
        await new ProcessGroups().cleanUp(tracking)
        alive.delete(id)
      },
    }
  }

  const clawctl = async (...args: string[]) => {
    const { code, stdout, all } = await begin(...args, '--json').ended
    expect(code, `clawctl ${args.join(' ')}\n${all}`).to.equal(0)
    expect(all).to.not.include('EntityAlreadyExists')
    return JSON.parse(stdout)
  }
  const fails = async (...args: string[]) => {
    const { code, stdout, all } = await begin(...args, '--json').ended
    expect(code, all).to.be.greaterThan(0)
    return { error: JSON.parse(stdout).error, code, all }
  }

  /** Runs a command that is killed when EC2, IAM or S3 has done this operation; `before`: when it was asked to. */
  async function killed(args: string[], operation: string, when: 'before' | 'after' = 'after'): Promise<void> {
    const command = begin(...args)
    let reached = false
    proxy.once(operation, async (forward) => {
      reached = true
      const answer = when === 'after' ? await forward() : { status: 500, headers: {}, body: '' }
      await command.kill()
      return answer
    })
    const { code, all } = await command.ended
    expect(reached, all).to.equal(true)
    expect(code, all).to.equal(null)
  }
  /** Requests of this operation get no answer. */
  const hold = (operation: string) => proxy.always(operation, () => new Promise<Answer>(() => {}))

  /** The state's resources; its outputs also name machines. */
  const stored = async () => JSON.stringify(JSON.parse((await fleet.store.get(STATE))?.text ?? '{}').resources ?? [])
  const machinesOf = async (id: string) => (await fleet.machines()).filter((machine) => machine.id === id)
  /** The only machine of an id. */
  const machineOf = async (id: string) => {
    const [machine, ...more] = await machinesOf(id)
    expect(more).to.deep.equal([])
    return machine?.instanceId ?? ''
  }
  /** The machine that serves as this id, which is deployed if there is none. */
  const serving = async (id: string) => {
    if ((await machinesOf(id)).length === 0) await clawctl('fleet', 'deploy', id)
    return machineOf(id)
  }
  const findings = ({ recovery }: { recovery: { findings: { subject: string; what: string; fix: string }[] } }) =>
    recovery.findings.map(({ subject, what, fix }) => `${subject} ${what}: ${fix}`)
  /** Only records of killed runs are left to correct, and the state has every machine. */
  const isWhole = async () => {
    const left = findings(await clawctl('fleet', 'recover'))
    expect(left.filter((line) => !line.includes('is recorded as running'))).to.deep.equal([])
    for (const { instanceId } of await fleet.machines()) expect(await stored()).to.include(instanceId)
  }

  return {
    ...{ fleet, proxy, alive, begin, clawctl, fails, killed, hold },
    ...{ stored, machinesOf, machineOf, serving, findings, isWhole },
    /** Called before GitHub answers. */
    whenGithubIsAsked: (act: () => void) => {
      onGithub = act
    },
    reset() {
      onGithub = () => {}
      proxy.reset()
    },
    async close() {
      await Promise.all([fleet.close(), proxy.close(), github.close()])
    },
  }
}
export type KilledFleet = Awaited<ReturnType<typeof startKilledFleet>>
