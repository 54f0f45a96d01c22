import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { expect } from 'chai'
import { execaSync } from 'execa'
import { heartbeatSchema } from '../../src/lib/domain/contract/index.js'
import { machine, runScript, SYSTEMCTL, throwAwayRoot } from './hostSupport.js'

const JQ = execaSync('bash', ['-c', 'type -P jq']).stdout
const TOKEN = `MTIzNDU2Nzg5MDEyMzQ1Njc4.${'GhIjKl'}.${'a1-_'.repeat(7)}`

describe('gateway-start.sh', () => {
  const root = throwAwayRoot()
  const start = async (answer: string) => {
    await root.write('credentials/discord-token', `${TOKEN}\n`)
    await root.write('run/.keep', '')
    await root.program(
      'openclaw',
      `if [[ $1 == config ]]; then
         echo "validated $OPENCLAW_STATE_DIR $*" >>"$LOG"; test -d "$OPENCLAW_STATE_DIR" || exit 9
         ${answer}
       fi
       echo "started $DISCORD_BOT_TOKEN $\{#OPENCLAW_GATEWAY_TOKEN} $*" >>"$LOG"`.replace('$\\{', '${'),
    )
    return runScript('gateway-start.sh', ['18789', 'discord-token=DISCORD_BOT_TOKEN'], {
      env: {
        ...root.withPrograms(),
        LOG: root.path('log'),
        CREDENTIALS_DIRECTORY: root.path('credentials'),
        RUNTIME_DIRECTORY: root.path('run'),
        OPENCLAW_CONFIG_PATH: '/nix/store/x-openclaw.json',
        OPENCLAW_STATE_DIR: root.path('state'),
      },
    })
  }

  it("starts a configuration that the gateway's validator accepts, with a separate database", async () => {
    const outcome = await start(`echo '{"valid": true, "warnings": [{"path": "a", "message": "b"}]}'; exit 0`)
    expect(outcome.code, outcome.stderr).to.equal(0)
    const [validated, started] = (await root.read('log')).split('\n')
    expect(validated)
      .to.match(/config validate --json$/)
      .and.not.contain(root.path('state'))
    expect(started).to.equal(`started ${TOKEN} 64 gateway --port 18789`)
    expect(outcome.stderr).to.contain('warning: a: b')
    expect(await root.read('run/token')).to.match(/^[0-9a-f]{64}\n$/)
  })

  it('reports refused settings with the reason, and the exit code that systemd does not restart', async () => {
    const outcome = await start(
      `echo '{"valid": false, "issues": [{"path": "channels.discord", "message": "must not have: allow"}]}'; exit 1`,
    )
    expect(outcome.code).to.equal(78)
    expect(outcome.stderr).to.contain('channels.discord: must not have: allow')
    expect(await root.read('log')).not.to.contain('started')
  })

  it('starts and reports that the configuration was not checked if the validator does not answer', async () => {
    for (const answer of ['echo "unknown command" >&2; exit 1', 'exit 0', `echo '{"valid": false}'; exit 1`]) {
      const outcome = await start(answer)
      expect(outcome.code, outcome.stderr).to.equal(0)
      expect(outcome.stderr).to.contain('could not be checked')
      expect(await root.read('log')).to.contain('started')
    }
  })
})

/** The answers of openclaw 2026.6.11. */
const STATUS = {
  active: { channelAccounts: { discord: [{ configured: true, running: true, connected: true, lastError: null }] } },
  rejected: {
    channelAccounts: {
      discord: [{ configured: true, running: true, connected: false, lastError: `401: Unauthorized ${TOKEN}` }],
      telegram: [{ configured: false, lastError: null }],
    },
  },
  standby: {
    channelAccounts: {
      discord: [{ configured: true, running: false, probe: { ok: true, status: null } }],
      telegram: [{ configured: true, running: false, probe: { ok: false, status: 401, error: 'getMe failed (401)' } }],
    },
  },
  unreachable: {
    channelAccounts: {
      discord: [{ configured: true, running: false, probe: { ok: false, status: null, error: 'fetch failed' } }],
    },
  },
}
const PLUGINS = { plugins: { loaded: ['telegram'], errors: [{ id: 'discord', error: 'record-missing' }] } }

describe('gateway-probe.sh', () => {
  const root = throwAwayRoot()
  beforeEach(async () => {
    await root.program('systemctl', SYSTEMCTL)
    await root.write('run/clawdinator-gateway/token', 'abc\n')
    await root.write('run/clawdinator-probe/.keep', '')
    await root.write('openclaw.json', '{"channels": {"discord": {"enabled": true}, "telegram": {"enabled": false}}}')
  })
  async function probe(status: unknown, health: unknown = { plugins: { errors: [] } }) {
    await root.write('status', JSON.stringify(status))
    await root.write('health', JSON.stringify(health))
    await root.program(
      'openclaw',
      'echo "$*" >>"$CLAWCTL_HOST_ROOT/log"; [[ $OPENCLAW_GATEWAY_TOKEN == abc ]] || exit 1; case $1 in health) cat "$CLAWCTL_HOST_ROOT/health" ;; *) cat "$CLAWCTL_HOST_ROOT/status" ;; esac',
    )
    const outcome = await runScript('gateway-probe.sh', [], {
      env: {
        ...root.withPrograms(),
        CLAWCTL_HOST_ROOT: root.path(),
        OPENCLAW_CONFIG_PATH: root.path('openclaw.json'),
        PROBE_WAIT_SECONDS: '0',
      },
    })
    expect(outcome.code, outcome.stderr).to.equal(0)
    const file = 'run/clawdinator-probe/probe.json'
    return existsSync(root.path(file)) ? JSON.parse(await root.read(file)) : undefined
  }
  const runs = (unit: string) => root.write(`units/${unit}.service`, 'ActiveState=active\nMainPID=42\n')

  it('reads from an active gateway whether its channels are connected', async () => {
    await runs('clawdinator-gateway')
    const good = await probe(STATUS.active)
    expect(good).to.deep.include({
      mainPid: 42,
      channels: [{ name: 'discord', connected: true, reason: null }],
      plugins: [],
    })
    expect(await root.read('log')).to.equal('health --json\nchannels status --json\n')
    await root.write('openclaw.json', '{"channels": {"discord": {}, "telegram": {"enabled": true}, "slack": {}}}')
    const { channels, plugins } = await probe(STATUS.rejected, PLUGINS)
    expect(channels).to.deep.equal([
      { name: 'discord', connected: false, reason: '401: Unauthorized [removed]' },
      { name: 'telegram', connected: false, reason: 'no token is configured' },
      { name: 'slack', connected: false, reason: 'the gateway does not report the channel: its plugin is not loaded' },
    ])
    expect(plugins).to.deep.equal([{ name: 'discord', error: 'record-missing' }])
  })

  it('makes a standby test its tokens, and does not treat an unreachable service as an answer', async () => {
    await runs('clawdinator-gateway-standby')
    await root.write('openclaw.json', '{"channels": {"discord": {}, "telegram": {}}}')
    expect((await probe(STATUS.standby)).channels).to.deep.equal([
      { name: 'discord', connected: true, reason: null },
      { name: 'telegram', connected: false, reason: 'getMe failed (401)' },
    ])
    expect(await root.read('log')).to.contain('channels status --probe --json')
    expect((await probe(STATUS.unreachable)).channels[0]).to.deep.equal({
      name: 'discord',
      connected: null,
      reason: 'fetch failed',
    })
  })

  it('reads a long answer, and passes no answer as an argument', async () => {
    await runs('clawdinator-gateway')
    await root.program('jq', `printf '%s\\n' "$*" >>"$CLAWCTL_HOST_ROOT/arguments"; exec ${JQ} "$@"`)
    const rejected = { ...STATUS.rejected, sessions: 'x'.repeat(200_000) }
    expect((await probe(rejected)).channels[0].connected).to.equal(false)
    expect(await root.read('arguments')).not.to.contain(TOKEN)
  })

  it('reports no values for a gateway that is down or does not answer', async () => {
    await runs('clawdinator-gateway')
    await probe(STATUS.active)
    await rm(root.path('units'), { recursive: true })
    expect(await probe(STATUS.active)).to.equal(undefined)
    await runs('clawdinator-gateway')
    expect(await probe(STATUS.active, 'starting')).to.equal(undefined)
  })
})

describe('heartbeat.sh', () => {
  const root = throwAwayRoot()
  let ec2: Awaited<ReturnType<typeof machine>>
  beforeEach(async () => {
    ec2 = await machine()
    await root.program('systemctl', SYSTEMCTL)
    await root.write('etc/clawdinator/instance-name', 'clawdinator-1\n')
  })
  afterEach(() => ec2.close())
  const beat = async (env: Record<string, string> = {}) => {
    const outcome = await runScript('heartbeat.sh', [], {
      env: { ...root.withPrograms(), ...ec2.env, CLAWCTL_HOST_ROOT: root.path(), ...env },
    })
    expect(outcome.code, outcome.stderr).to.equal(0)
    const said = JSON.parse(ec2.puts.at(-1)?.body ?? '')
    heartbeatSchema.parse(said)
    expect(Object.keys(said)).to.have.members(Object.keys(heartbeatSchema.shape))
    return said
  }
  const upFor = (seconds: number) => {
    const since = Math.floor(Date.now() / 1000) - seconds
    return root.write(
      'units/clawdinator-gateway.service',
      `ActiveState=active\nMainPID=42\nNRestarts=3\nActiveEnterTimestamp=@${since}\n`,
    )
  }

  it('reports few values on a machine that has just booted, and null for the others', async () => {
    const { at, ...rest } = await beat()
    expect(Math.abs(Date.parse(at) - Date.now())).to.be.below(120_000)
    expect(rest).to.deep.equal({
      schema: 2,
      id: 'clawdinator-1',
      instanceId: 'i-0123456789abcdef0',
      amiId: 'ami-0123456789abcdef0',
      requestId: null,
      revision: null,
      imageRevision: null,
      stage: 'booted',
      stageSince: null,
      stages: [],
      failure: null,
      gateway: {
        state: 'inactive',
        mainPid: 0,
        restarts: 0,
        activeSince: null,
        channels: [],
        plugins: [],
        probedAt: null,
      },
      bundle: null,
      selfUpdate: null,
    })
    expect(ec2.puts.at(-1)).to.include({
      key: 'heartbeats/clawdinator-1/i-0123456789abcdef0.json',
      signed: true,
    })
  })

  it('contains the boot report, the gateway, the probe of this process, and the last update', async () => {
    await upFor(30)
    await root.write('etc/clawdinator/request-id', 'request-12345678\n')
    await root.write('run/clawdinator/stages', 'booted 2026-11-26T10:00:00Z\nactive 2026-11-26T10:03:00Z\n')
    const failure = { stage: 'active', unit: 'clawdinator-gateway.service', lines: ['x'], at: '2026-11-26T10:04:00Z' }
    await root.write('run/clawdinator/failure.json', JSON.stringify(failure))
    await root.write('run/clawdinator/bundle', '7\n')
    await root.write('var/lib/clawdinator/image-revision', `${'a'.repeat(40)}-dirty\n`)
    const selfUpdate = { at: '2026-11-26T04:00:00Z', outcome: 'kept', detail: 'there is no newer version' }
    await root.write('var/lib/clawdinator/self-update.json', JSON.stringify(selfUpdate))
    const probe = {
      at: '2026-11-26T10:05:00Z',
      mainPid: 42,
      channels: [{ name: 'discord', connected: true }],
      plugins: [],
    }
    await root.write('run/clawdinator-probe/probe.json', JSON.stringify(probe))
    const env = { HEARTBEAT_REVISION: '9d27b6a' }
    expect(await beat(env)).to.deep.include({
      requestId: 'request-12345678',
      revision: '9d27b6a',
      imageRevision: 'a'.repeat(40),
      stage: 'active',
      stageSince: '2026-11-26T10:03:00Z',
      stages: [
        { stage: 'booted', at: '2026-11-26T10:00:00Z' },
        { stage: 'active', at: '2026-11-26T10:03:00Z' },
      ],
      failure,
      bundle: { generation: 7 },
      selfUpdate,
    })
    const { gateway } = await beat(env)
    expect(gateway).to.deep.include({ state: 'active', mainPid: 42, restarts: 3, probedAt: probe.at })
    expect(gateway.channels).to.deep.equal(probe.channels)
    expect(gateway.activeSince).to.match(/^2\d{3}-.*Z$/)

    await upFor(90)
    expect((await beat(env)).failure, 'it has held for a minute').to.equal(null)
    await root.write('run/clawdinator-probe/probe.json', JSON.stringify({ ...probe, mainPid: 41 }))
    expect((await beat(env)).gateway, 'a probe of another process').to.deep.include({ channels: [], probedAt: null })
  })

  it('is written although a file of the last run is truncated', async () => {
    await root.write('var/lib/clawdinator/self-update.json', '')
    await root.write('run/clawdinator-probe/probe.json', '{"at": "2026-11-26T10:05:00Z"}\n{"mainPid')
    expect(await beat()).to.deep.include({ selfUpdate: null })
  })

  it('reports the gateway without channels while another machine is active', async () => {
    await upFor(90)
    await root.write('units/clawdinator-gateway-standby.service', 'ActiveState=activating\nMainPID=0\nNRestarts=5\n')
    await root.write('run/clawdinator/stages', 'standby 2026-11-26T10:03:00Z\n')
    expect((await beat()).gateway).to.deep.include({ state: 'activating', restarts: 5 })
    await root.write('run/clawdinator/stages', 'yielded 2026-11-26T10:03:00Z\n')
    expect((await beat()).gateway.mainPid).to.equal(42)
  })

  it('is sent again if the report changes while it is sent', async () => {
    await root.write('run/clawdinator/stages', 'bundle 2026-11-26T10:03:00Z\n')
    // The first request to the gateway comes after the report was read.
    await root.program(
      'systemctl',
      `if [[ ! -e $CLAWCTL_HOST_ROOT/once ]]; then touch "$CLAWCTL_HOST_ROOT/once"; echo 'secrets 2026-11-26T10:04:00Z' >>"$CLAWCTL_HOST_ROOT/run/clawdinator/stages"; fi
       ${SYSTEMCTL}`,
    )
    expect((await beat()).stage).to.equal('secrets')
    expect(ec2.puts).to.have.length(2)
  })

  it("reports S3's own error if S3 refuses it", async () => {
    Object.assign(ec2.trouble, { status: 403, code: 'AccessDenied' })
    const outcome = await runScript('heartbeat.sh', [], {
      env: { ...root.withPrograms(), ...ec2.env, CLAWCTL_HOST_ROOT: root.path() },
    })
    expect(outcome.code).to.equal(4)
    expect(outcome.stderr).to.contain('(status 403): AccessDenied')
  })
})
