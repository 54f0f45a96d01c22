import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { concurrently, expectFailure, inSandbox, LATEST_AMI, OLDER_AMI, TestSandbox } from '../../support/cli.js'

interface Deploy {
  requestId: string
  target: string
  status: string
  runId: number
  createdAt: string
  startedAt: string
  finishedAt: string
  waitsFor: { requestId: string; target: string } | null
  requestedBy: string | null
  caller: string | null
}

const NAMED_KEYS = ['requestId', 'target', 'ami', 'status', 'runId', 'runUrl', 'hosts']
const HOST_KEYS = ['id', 'outcome', 'ami', 'previousAmi', 'instanceId', 'step', 'reason', 'startedAt', 'finishedAt']

const deploy = (sandbox: TestSandbox, as: string, ...args: string[]) =>
  sandbox.clawctl(as, ['fleet', 'deploy', ...args, '--json'])

async function history(sandbox: TestSandbox, ...args: string[]): Promise<Deploy[]> {
  return (await sandbox.clawctl('laptop', ['fleet', 'history', '--json', ...args])).json().deploys
}

describe('clawctl fleet deploy through the Control API', () => {
  const names = ['Zoë 🦀 李小龍', 'x] via clawdinator-9 by Mallory', "R'; $(touch pwned) `id` <script> & |*"]
  const begin = () =>
    concurrently(
      {
        names: () =>
          inSandbox({}, async (sandbox) => {
            const release = sandbox.hold()
            for (const name of [...names].reverse()) {
              const { code, stdout } = await deploy(sandbox, 'clawdinator-1', 'clawdinator-2', '--requested-by', name)
              expect(code, stdout).to.equal(0)
            }
            // Only the first run continues.
            sandbox.hold()
            release()
            const deploys = await history(sandbox)
            const chat = await sandbox.clawctl('clawdinator-1', ['fleet', 'history', '--chat'])
            const first = sandbox.inner.github.runs.at(-1)
            while (first?.status !== 'completed') await sleep(50)
            const { conclusion, jobs } = first
            return { deploys, chat, conclusion, summary: jobs.flatMap((j) => j.steps.map((s) => s.summary)).join('') }
          }),
        rolledBack: () =>
          inSandbox({ faults: ['host:crash'] }, async (sandbox) => {
            const outcome = await deploy(sandbox, 'clawdinator-2', 'clawdinator-1', '--wait')
            const deploys = await history(sandbox)
            const again = ['clawdinator-1', '--request-id', deploys[0]?.requestId ?? '']
            const same = await deploy(sandbox, 'clawdinator-2', ...again)
            return { outcome, same, hosts: sandbox.hosts(), deploys }
          }),
        noSuchAmi: () =>
          inSandbox({}, async (sandbox) => {
            const outcome = await deploy(
              sandbox,
              'laptop',
              'clawdinator-2',
              '--ami',
              'ami-0123456789abcdef0',
              '--requested-by',
              'Jo',
              '--wait',
            )
            return { outcome, hosts: sandbox.hosts() }
          }),
        timedOut: () =>
          inSandbox({}, async (sandbox) => {
            sandbox.hold()
            const outcome = await deploy(sandbox, 'laptop', 'clawdinator-2', '--wait', '--timeout', '1s')
            return { outcome, deploys: await history(sandbox) }
          }),
      },
      2,
    )
  let stories: ReturnType<typeof begin>
  before(() => {
    stories = begin()
  })

  describe('creates one host that does not exist yet', () => {
    let sandbox: TestSandbox
    before(async () => {
      sandbox = await TestSandbox.start()
    })
    after(() => sandbox.close())
    const id = 'request-0001'

    it('returns as soon as the run is queued', async () => {
      const outcome = await deploy(sandbox, 'clawdinator-1', 'clawdinator-2', '--request-id', id)
      const document = outcome.json()
      expect(outcome.code).to.equal(0)
      expect(outcome.stderr).to.equal('')
      expect(Object.keys(document)).to.deep.equal(['ok', 'deploy'])
      expect(Object.keys(document.deploy).filter((key) => NAMED_KEYS.includes(key))).to.deep.equal(NAMED_KEYS)
      expect(document.deploy).to.include({ requestId: id, target: 'clawdinator-2', status: 'queued', ami: null })
      expect(document.deploy).to.include({ caller: 'clawdinator-1', requestedBy: null })
      expect(document.deploy.hosts).to.deep.equal([])
      expect(document.deploy.runId).to.be.a('number')
      expect(document.deploy.runUrl).to.match(new RegExp(`/actions/runs/${document.deploy.runId}$`))
    })

    it('starts no second run for the same request id, and follows the first one with --wait', async () => {
      const outcome = await deploy(sandbox, 'clawdinator-1', 'clawdinator-2', '--request-id', id, '--wait')
      const { deploy: followed } = outcome.json()
      expect(outcome.code).to.equal(0)
      expect(sandbox.inner.github.runs).to.have.length(1)
      expect(followed).to.include({ status: 'succeeded', ami: LATEST_AMI, error: null })
      expect(followed.hosts).to.have.length(1)
      expect(Object.keys(followed.hosts[0])).to.deep.equal(HOST_KEYS)
      expect(followed.hosts[0]).to.include({ id: 'clawdinator-2', outcome: 'created', ami: LATEST_AMI })
      expect(followed.hosts[0].previousAmi).to.equal(null)
      expect(sandbox.hosts()).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`, `clawdinator-2 ${LATEST_AMI}`])
      const { instances } = (await sandbox.clawctl('laptop', ['fleet', 'status', '--json'])).json().fleet
      expect(instances[1].instanceId).to.equal(followed.hosts[0].instanceId)
      expect(instances[1]).to.include({ state: 'running', health: 'healthy', amiStatus: 'latest' })
    })

    it('refuses the same request id for another deploy', async () => {
      expectFailure(await deploy(sandbox, 'laptop', 'clawdinator-1', '--request-id', id), 'REQUEST_CONFLICT', 2)
      expect(sandbox.inner.github.runs).to.have.length(1)
    })

    it("prints the run's steps on stderr, and only the result on stdout", async () => {
      const outcome = await sandbox.clawctl('laptop', [
        'fleet',
        'deploy',
        'clawdinator-2',
        '--ami',
        OLDER_AMI,
        '--requested-by',
        'Jo',
        '--wait',
      ])
      expect(outcome.code).to.equal(0)
      expect(outcome.stderr).to.match(/^request ([\w-]+)\nqueued as \1: http/)
      expect(outcome.stderr).to.include('✔ deploy: Install OpenTofu\n').and.include('✔ deploy: Deploy\n')
      expect(outcome.stdout).to.match(new RegExp(`^Deploy of clawdinator-2 with ${OLDER_AMI}: succeeded\n`))
      expect(outcome.stdout).to.include(`clawdinator-2: replaced, ${OLDER_AMI} (was ${LATEST_AMI})`)
      expect(sandbox.hosts()).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`, `clawdinator-2 ${OLDER_AMI}`])
    })
  })

  describe('the queue', () => {
    let sandbox: TestSandbox
    before(async () => {
      sandbox = await TestSandbox.start()
    })
    after(() => sandbox.close())

    it('runs concurrent deploys one after the other, and reports which one each waits for', async () => {
      const release = sandbox.hold()
      const first = (await deploy(sandbox, 'laptop', 'clawdinator-2', '--requested-by', 'Ann')).json().deploy as Deploy
      const second = (await deploy(sandbox, 'clawdinator-2', 'clawdinator-1')).json().deploy as Deploy
      expect(second).to.include({ status: 'queued' })
      expect(second.waitsFor).to.include({ requestId: first.requestId, target: 'clawdinator-2' })

      const third = sandbox.clawctl('laptop', ['fleet', 'deploy', 'clawdinator-2', '--wait'])
      const table = await sandbox.clawctl('laptop', ['fleet', 'history'])
      expect(table.stdout).to.match(
        /clawdinator-1 +queued behind clawdinator-2 .*clawdinator-2 \(verified\) +- +[\w-]+$/m,
      )
      const chat = await sandbox.clawctl('laptop', ['fleet', 'history', '--chat'])
      expect(chat.stdout).to.include('clawdinator-1: queued behind clawdinator-2')

      release()
      const waited = await third
      expect(waited.code, waited.stderr).to.equal(0)
      expect(waited.stderr).to.match(/queued behind the deploy of clawdinator-[12] \(/)
      const deploys = (await history(sandbox)).reverse()
      expect(deploys.map((d) => `${d.target} ${d.status}`)).to.deep.equal([
        'clawdinator-2 succeeded',
        'clawdinator-1 succeeded',
        'clawdinator-2 succeeded',
      ])
      for (const [index, later] of deploys.slice(1).entries()) {
        expect(later.waitsFor).to.equal(null)
        expect(Date.parse(later.startedAt)).to.be.at.least(Date.parse(deploys[index]?.finishedAt ?? ''))
      }
    })

    it('shows targets, requesters and outcomes in the history, newest first', async () => {
      const deploys = await history(sandbox)
      expect(deploys.map((d) => `${d.target} ${d.requestedBy} ${d.caller}`)).to.deep.equal([
        'clawdinator-2 null null',
        'clawdinator-1 null clawdinator-2',
        'clawdinator-2 Ann null',
      ])
      expect(await history(sandbox, '--limit', '1')).to.have.length(1)
      const { stdout } = await sandbox.clawctl('laptop', ['fleet', 'history'])
      expect(stdout).to.match(/^ASKED \(UTC\) +AGE +TARGET +STATUS +AMI +BY +TOOK +REQUEST$/m)
      expect(stdout).to.match(/ clawdinator-2 +succeeded +ami-\w+ +unknown \(shared token\) /)
      expect(stdout).to.match(/ clawdinator-2 +succeeded +ami-\w+ +Ann \(claimed\) /)
    })

    it('shows the same history on the direct plane', async () => {
      const [laptop, ci] = await Promise.all([
        sandbox.clawctl('laptop', ['fleet', 'history', '--json']),
        sandbox.clawctl('ci', ['fleet', 'history', '--json']),
      ])
      expect(ci.stdout).to.equal(laptop.stdout)
    })
  })

  describe('further requests', () => {
    it('keeps a name in any script unchanged, and never reads it as something else', async () => {
      const { deploys, chat, conclusion, summary } = await stories.names
      expect(deploys.map((d) => d.requestedBy)).to.deep.equal(names)
      expect(deploys.map((d) => d.caller)).to.deep.equal(names.map(() => 'clawdinator-1'))
      expect(chat.stdout).to.include('by Zoë 🦀 李小龍 (claimed) via clawdinator-1 (verified)')
      expect(conclusion).to.equal('success')
      expect(summary).to.include('clawdinator-2').and.not.include('<script>')
    })

    it('exits with 6 if the candidate failed, and reports what was done', async () => {
      const { outcome, same, hosts, deploys } = await stories.rolledBack
      expectFailure(outcome, 'KEPT', 6)
      expect(outcome.json().deploy).to.include({ status: 'kept', ami: LATEST_AMI })
      expect(outcome.json().deploy.hosts[0]).to.include({ outcome: 'kept', ami: OLDER_AMI })
      expect(hosts).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`])
      expect(deploys[0]?.status).to.equal('kept')
      expectFailure(same, 'KEPT', 6)
      expect(same.json().deploy, 'asked again without --wait').to.include({ status: 'kept' })
    })

    it("passes on the run's own error: the AMI does not exist", async () => {
      const { outcome, hosts } = await stories.noSuchAmi
      expectFailure(outcome, 'AMI_NOT_FOUND', 2)
      expect(hosts).to.deep.equal([`clawdinator-1 ${OLDER_AMI}`])
    })

    it('stops following at its time limit with exit code 5, and the deploy goes on', async () => {
      const { outcome, deploys } = await stories.timedOut
      expectFailure(outcome, 'TIMED_OUT', 5)
      expect(outcome.json().deploy.requestId).to.equal(deploys[0]?.requestId)
      expect(deploys[0]?.status).to.equal('running')
    })

    it('starts one run for two concurrent requests with the same id', async () => {
      const { outcomes, runs } = await inSandbox({}, async (sandbox) => {
        sandbox.hold()
        const ask = () => deploy(sandbox, 'laptop', 'clawdinator-2', '--request-id', 'twice-at-once')
        return { outcomes: await Promise.all([ask(), ask()]), runs: sandbox.inner.github.runs.length }
      })
      expect(outcomes.map((outcome) => outcome.code)).to.deep.equal([0, 0])
      expect(runs).to.equal(1)
    })
  })
})
