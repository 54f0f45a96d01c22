// biome-ignore-all lint/suspicious/noTemplateCurlyInString: shell has it too
import { cp, mkdir, readdir, readFile, readlink } from 'node:fs/promises'
import { expect } from 'chai'
import { ROOT, run, surroundings } from '../support/cli.js'
import { throwAwayRoot } from './hostSupport.js'

describe('the scripts of a full deploy', () => {
  const root = throwAwayRoot()
  beforeEach(async () => {
    await cp(`${ROOT}/scripts`, root.path('checkout/scripts'), { recursive: true })
    await root.program('clawctl', 'printf "%s\\n" "$*" >>"$LOG"; exit "${CODE:-0}"')
  })
  const call = (name: string, args: readonly string[], env: Record<string, string> = {}) =>
    run(['bash', root.path('checkout/scripts', name), ...args], {
      cwd: root.path(),
      env: { ...surroundings(), ...root.withPrograms(), LOG: root.path('log'), ...env },
    })

  it('call one clawctl command each, and exit with its code', async () => {
    await call('upload-image.sh', ['dist/nixos.img'])
    await call('import-image.sh', [])
    await call('upload-bootstrap.sh', ['clawdinator-1'])
    await call('mint-github-app-token.sh', ['--out', 'a file'])
    expect((await root.read('log')).split('\n').slice(0, -1)).to.deep.equal([
      'image upload dist/nixos.img --mode ci',
      'image import --mode ci',
      'bootstrap upload clawdinator-1 --mode ci',
      'github token --out a file',
    ])
    expect((await call('import-image.sh', [], { CODE: '4' })).code).to.equal(4)
  })

  it('put the image where the next step reads it', async () => {
    await mkdir(root.path('checkout/dist'))
    await root.program('clawctl', `echo '{"path": "result/nixos.img"}' >dist/image.json; echo "$*" >"$LOG"`)
    const outcome = await call('build-image.sh', ['clawdinator-1'])
    expect(outcome.code, outcome.stderr).to.equal(0)
    expect(await root.read('log')).to.equal('image build clawdinator-1 --out dist\n')
    expect(await readlink(root.path('checkout/dist/nixos.img'))).to.equal(root.path('checkout/dist/result/nixos.img'))
  })

  it('name a command to run elsewhere, because a host has no login', async () => {
    const files = (await readdir(`${ROOT}/scripts`, { recursive: true })).filter((file) => file.endsWith('.sh'))
    for (const file of files) {
      const text = await readFile(`${ROOT}/scripts/${file}`, 'utf8')
      for (const [failure] of text.matchAll(/\bfail \d.*(?:\\\n.*)*/g)) {
        expect(failure, file).not.to.match(/systemctl|journalctl|\bssh\b|sudo/)
      }
    }
    const env = { CLAWCTL_HOST_ROOT: root.path('host') }
    const seed = () => call('seed-repos.sh', [root.path('none'), root.path('repos')], env)
    expect((await seed()).stderr).to.contain('clawctl fleet show ID')
    await root.write('host/etc/clawdinator/instance-name', 'clawdinator-2\n')
    expect((await seed()).stderr).to.contain('clawctl fleet show clawdinator-2')
  })

  it('print how to get clawctl if it is missing', async () => {
    const outcome = await call('import-image.sh', [], { PATH: '/usr/bin:/bin' })
    expect(outcome.code).to.equal(2)
    expect(outcome.stderr).to.contain('npm ci && npm run build')
  })
})
