import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Sandbox } from '../../sandbox/sandbox.js'

const binary = ['tofu', 'terraform'].find((name) => {
  try {
    execFileSync(name, ['version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})

const STACK = `
terraform {
  backend "s3" {
    key          = "state/fixture.tfstate"
    use_lockfile = true
  }
}
resource "terraform_data" "host" {
  for_each = toset(["a", "b"])
}
`

describe(`a real ${binary ?? 'tofu (skipped: neither tofu nor terraform is in PATH)'} against the sandbox's S3`, () => {
  let sandbox: Sandbox
  let folder: string
  let env: Record<string, string>

  before(async function () {
    if (!binary) return this.skip()
    folder = mkdtempSync(join(tmpdir(), 'clawctl-real-'))
    writeFileSync(join(folder, 'main.tf'), STACK)
    const root = process.cwd()
    sandbox = await Sandbox.start({
      packageRoot: root,
      checkoutRoot: root,
      registryFile: null,
      runningIds: [],
      faults: [],
      tofu: 'auto',
      env: process.env,
    })
    env = await sandbox.environment({ kind: 'ci' }, process.env)
  })

  after(async () => {
    await sandbox?.close()
    if (folder) rmSync(folder, { recursive: true, force: true })
  })

  const run = async (...args: string[]) => {
    const { execa } = await import('execa')
    return execa(binary ?? '', args, { cwd: folder, env, extendEnv: false, reject: false, all: true })
  }

  it('stores state and lock in S3, replaces the named instance, and refuses a stale plan', async () => {
    const backend = ['bucket=clawdinators-sandbox', 'region=eu-central-1', 'use_path_style=true']
    const init = await run('init', '-input=false', '-no-color', ...backend.map((pair) => `-backend-config=${pair}`))
    expect(init.exitCode, init.all).to.equal(0)
    expect((await run('plan', '-input=false', '-no-color', '-out=first')).exitCode).to.equal(0)
    expect((await run('apply', '-input=false', '-no-color', 'first')).all).to.include('2 added')
    expect(sandbox.world.getObject('clawdinators-sandbox', 'state/fixture.tfstate')?.body.toString()).to.include('host')

    await run('plan', '-input=false', '-no-color', '-out=second', '-replace=terraform_data.host["b"]')
    expect((await run('apply', '-input=false', '-no-color', 'second')).all).to.include(
      '1 added, 0 changed, 1 destroyed',
    )
    const stale = await run('apply', '-input=false', '-no-color', 'second')
    expect([stale.exitCode, stale.all]).to.satisfy(([code, text]: [number, string]) => code === 1 && /stale/.test(text))
    expect(sandbox.world.getObject('clawdinators-sandbox', 'state/fixture.tfstate.tflock')).to.equal(null)
  })
})
