import { expect } from 'chai'
import { execa } from 'execa'
import { BIN, concurrently, ROOT, runInSandbox } from '../support/cli.js'
import { leftIn, NOTHING, temporaryFolders } from '../support/leftovers.js'

describe('deploys in a sandbox of separate processes', () => {
  const ownFolder = temporaryFolders()
  async function interrupted(signal: 'SIGTERM' | 'SIGINT') {
    const { folder, env } = await ownFolder()
    const argv = [BIN, 'sandbox', 'run', '--as', 'ci', '--fault', 'host:dead', '--', 'bash', '-c']
    const script = 'clawctl fleet deploy clawdinator-1 & wait $!; clawctl fleet status'
    const child = execa(process.execPath, [...argv, script], { env, extendEnv: false, cwd: ROOT, reject: false })
    const waiting = new Promise<void>((resolve) => {
      child.stderr.on('data', (chunk) => String(chunk).includes('wait until ready') && resolve())
    })
    await Promise.race([waiting, child])
    child.kill(signal)
    const { exitCode } = await child
    return { code: exitCode, left: await leftIn(folder) }
  }
  const begin = () =>
    concurrently({
      several: () => {
        const script =
          'clawctl fleet deploy clawdinator-2 --wait >&2 && clawctl fleet status --json && ' +
          '! clawctl fleet deploy clawdinator-9 2>/dev/null'
        return runInSandbox({ as: 'clawdinator-1' }, script)
      },
      undone: async () => {
        const { folder, env } = await ownFolder()
        const { code } = await runInSandbox({ env }, 'clawctl fleet deploy clawdinator-2 >/dev/null; sleep 0.7')
        return { code, left: await leftIn(folder) }
      },
      SIGTERM: () => interrupted('SIGTERM'),
      SIGINT: () => interrupted('SIGINT'),
    })
  let results: ReturnType<typeof begin>
  before(() => {
    results = begin()
  })

  it('runs several commands in one sandbox, with clawctl in PATH', async () => {
    const outcome = await results.several
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(outcome.json().fleet.instances[1]).to.include({ id: 'clawdinator-2', state: 'running', health: 'healthy' })
  })

  it('leaves nothing behind, whatever the command left running', async () => {
    const { code, left } = await results.undone
    expect(code).to.equal(0)
    expect(left).to.deep.equal(NOTHING)
  })

  it('removes the saved plan of a killed run', async () => {
    const { folder, env } = await ownFolder()
    await runInSandbox({ env, faults: ['runner:dies'] }, ['clawctl', 'fleet', 'deploy', 'clawdinator-2', '--wait'])
    expect(await leftIn(folder)).to.deep.equal(NOTHING)
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`leaves nothing behind after ${signal} during a deploy`, async () => {
      const { code, left } = await results[signal]
      expect(code).to.not.equal(0)
      expect(left).to.deep.equal(NOTHING)
    })
  }
})
