import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { expect } from 'chai'
import { machine, runScript, SYSTEMCTL, throwAwayRoot } from './hostSupport.js'

const ME = 'i-0123456789abcdef0'
const OTHER = 'i-0fedcba9876543210'

describe('active-watch.sh', () => {
  const root = throwAwayRoot()
  let ec2: Awaited<ReturnType<typeof machine>>
  beforeEach(async () => {
    ec2 = await machine(ME)
    await root.program('systemctl', SYSTEMCTL)
    await root.program('sleep', 'printf "%s\\n" "$1" >>"$CLAWCTL_HOST_ROOT/slept"')
    await root.write('etc/clawdinator/instance-name', 'clawdinator-1\n')
  })
  afterEach(() => ec2.close())

  const watch = (looks = 1) =>
    runScript('active-watch.sh', [], {
      env: {
        ...root.withPrograms(),
        ...ec2.env,
        CLAWCTL_HOST_ROOT: root.path(),
        WATCH_CHECKS: String(looks),
        WATCH_UNITS: 'clawdinator-gateway.service clawdinator-github-sync.timer',
      },
    })
  const names = (instanceId: string) =>
    ec2.objects.set(
      'active/clawdinator-1.json',
      JSON.stringify({ schema: 1, id: 'clawdinator-1', instanceId, deploy: null, at: '2026-11-26T00:00:00Z' }),
    )
  /** The requests to systemd since the last call, without heartbeats. */
  async function asked(): Promise<string[]> {
    const log = root.path('systemctl.log')
    const lines = existsSync(log) ? (await root.read('systemctl.log')).split('\n').filter(Boolean) : []
    await rm(log, { force: true })
    return lines.filter((line) => !line.includes('heartbeat'))
  }
  const stage = async () => (await root.read('run/clawdinator/stages')).trim().split('\n').at(-1)?.split(' ')[0]
  const acts = [
    'stop clawdinator-standby.target clawdinator-gateway-standby.service',
    'start --no-block clawdinator-active.target',
  ]
  const standsBy = ['start --no-block clawdinator-standby.target']
  const stops = ['stop clawdinator-active.target clawdinator-gateway.service clawdinator-github-sync.timer']

  it('becomes active if it is named, or if there is no object', async () => {
    names(ME)
    const outcome = await watch()
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(await asked()).to.deep.equal(acts)
    expect(await stage()).to.equal('active')

    await rm(root.path('run'), { recursive: true })
    ec2.objects.clear()
    await watch()
    expect(await asked()).to.deep.equal(acts)
    expect(await stage()).to.equal('active')
  })

  it('is standby while another machine is named, and becomes active when it is named', async () => {
    names(OTHER)
    await watch(2)
    expect(await asked()).to.deep.equal(standsBy)
    expect(await stage()).to.equal('standby')
    expect((await root.read('slept')).split('\n')[0]).to.equal('3')
    names(ME)
    await watch()
    expect(await asked()).to.deep.equal([...standsBy, ...acts])
    expect(await stage()).to.equal('active')
  })

  it('stops all units before it reports `yielded`, and becomes active again when it is named', async () => {
    names(ME)
    await watch()
    await asked()
    names(OTHER)
    const outcome = await watch(2)
    expect(outcome.stderr).to.contain(`names ${OTHER}: this machine yields`)
    expect(await asked()).to.deep.equal([acts[1], ...stops])
    expect(await stage()).to.equal('yielded')
    names(ME)
    await watch()
    expect(await asked()).to.deep.equal(acts)
    expect(await stage()).to.equal('active')
  })

  it('yields although systemd does not have one of the units', async () => {
    names(ME)
    await watch()
    await asked()
    await root.program('systemctl', `${SYSTEMCTL}\nif [[ $1 == stop ]]; then exit 5; fi`)
    names(OTHER)
    expect((await watch()).code).to.equal(0)
    expect(await stage()).to.equal('yielded')
  })

  for (const dies of [true, false]) {
    it(`kills units that do not stop in time, and ${dies ? 'then yields' : 'does not yield while it runs'}`, async () => {
      names(ME)
      await watch()
      await asked()
      await root.write('units/clawdinator-gateway.service', 'ActiveState=deactivating\n')
      await root.program(
        'systemctl',
        `R=$CLAWCTL_HOST_ROOT
         if [[ $1 == stop && ! -e $R/killed ]]; then exec tail -f /dev/null; fi
         if [[ $1 == kill ]]; then touch "$R/killed"; ${dies ? 'rm -r "$R/units"' : ''}; fi${SYSTEMCTL}`.replace(
          '; ; fi',
          '; fi',
        ),
      )
      names(OTHER)
      const outcome = await runScript('active-watch.sh', [], {
        env: {
          ...root.withPrograms(),
          ...ec2.env,
          CLAWCTL_HOST_ROOT: root.path(),
          WATCH_CHECKS: '1',
          WATCH_YIELD_SECONDS: '0.3',
        },
      })
      expect(outcome.stderr).to.contain('seconds: clawdinator-gateway.service')
      expect(await asked()).to.include('kill --signal=KILL clawdinator-gateway.service')
      expect(outcome.code).to.equal(dies ? 0 : 1)
      expect(await stage()).to.equal(dies ? 'yielded' : 'active')
    })
  }

  for (const [status, code] of [
    [403, 'AccessDenied'],
    [404, 'NoSuchBucket'],
    [503, 'SlowDown'],
  ] as const) {
    it(`keeps its role if S3 answers ${code}`, async () => {
      Object.assign(ec2.trouble, { status, code })
      const booted = await watch(3)
      expect(booted.stderr).to.contain(code)
      expect(booted.stderr.match(/does not change its role/g)).to.have.length(1)
      expect(await asked(), 'a machine that has just booted').to.deep.equal(standsBy)
      expect(await stage()).to.equal('standby')

      ec2.trouble.status = undefined
      names(ME)
      await watch()
      await asked()
      ec2.trouble.status = status
      await watch()
      expect(await asked(), 'one that acts').to.deep.equal([acts[1]])
      expect(await stage()).to.equal('active')

      ec2.trouble.status = undefined
      names(OTHER)
      await watch()
      await asked()
      ec2.trouble.status = status
      await watch()
      expect(await asked(), 'one that has yielded').to.deep.equal([])
    })
  }

  it('reports the cause and not the hint if the metadata service returns no credentials', async () => {
    const { AWS_ACCESS_KEY_ID: _, ...env } = ec2.env
    ec2.env = env as typeof ec2.env
    const outcome = await watch()
    expect(outcome.stderr).to.contain(
      'active-watch.sh: The metadata service names no role for this instance.; this machine does not change its role\n',
    )
  })

  it('reports a role that a killed earlier run did not report', async () => {
    await root.write('run/clawdinator/role', 'active\n')
    names(ME)
    await watch()
    expect(await stage()).to.equal('active')
  })

  it('keeps its role if the object is not valid', async () => {
    for (const body of ['', '{', '{"schema":2}', JSON.stringify({ schema: 1, id: 'clawdinator-2', instanceId: ME })]) {
      ec2.objects.set('active/clawdinator-1.json', body)
      await rm(root.path('run'), { recursive: true, force: true })
      await watch()
      expect(await stage(), body).to.equal('standby')
    }
  })

  it('does not become active without an object after another machine was named', async () => {
    names(OTHER)
    await watch()
    await asked()
    ec2.objects.clear()
    await watch(2)
    expect(await asked()).to.deep.equal(standsBy)
    expect(await stage()).to.equal('standby')
  })
})
