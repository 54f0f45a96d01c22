import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { readConfiguration } from '../../lambda/configuration.js'
import { createPorts } from '../../lambda/context.js'
import { putBundles } from '../../sandbox/bundles.js'
import { declaredInputs, missingInputs } from '../../src/lib/domain/preflight/workflowInputs.js'
import { parseRegistry } from '../../src/lib/domain/registry/registry.js'
import { serverPreflight } from '../../src/lib/ops/preflight/serverPreflight.js'
import { BUCKET, LATEST, REGISTRY, ROOT, startPlane, type TestPlane } from '../support/plane.js'
import { type Answer, environment, Lambda } from './invoke.js'

const WORKFLOW = '.github/workflows/fleet-deploy.yml'

describe('Control API: preflight', () => {
  let plane: TestPlane
  let lambda: Lambda
  before(async () => {
    plane = await startPlane()
  })
  after(() => plane.close())
  beforeEach(() => {
    lambda = new Lambda(environment(plane))
    plane.answerAs(() => null)
    plane.seen.length = 0
  })
  afterEach(() => expect(plane.dispatches()).to.deep.equal([]))

  const byId = (answer: Answer) => Object.fromEntries(answer.preflight.checks.map((check) => [check.id, check]))
  const statuses = (answer: Answer) => answer.preflight.checks.map(({ id, status }) => `${id} ${status}`)
  const everything = (status: string) =>
    [
      'github-token',
      'github-dispatch',
      'workflow',
      'registry',
      'ec2',
      'latest-ami',
      'bundles',
      'token-bundles',
      'fleet',
      'control-token',
      'own-tokens',
      'freeze',
    ]
      .map((id) => `${id} ${status}`)
      // This fleet has neither: secrets in a bucket, and a nix/site.nix with the hosts' App.
      .concat(['control-secrets skip', 'credentials-apart skip'])

  it('passes if everything is correct, and shows the evidence', async () => {
    await putBundles(plane.world, BUCKET, parseRegistry(JSON.stringify(REGISTRY), 'test'), 'a'.repeat(40))
    const answer = await lambda.get('/v1/preflight')
    expect([answer.status, statuses(answer)]).to.deep.equal([200, everything('pass')])
    const checks = byId(answer)
    expect(checks['latest-ami']?.evidence).to.include(LATEST).and.include('1 day')
    expect(checks['github-dispatch']?.evidence).to.include('repo')
    expect(checks.fleet?.evidence).to.include('missing: clawdinator-1, clawdinator-2')
    expect(checks['control-token']?.fix).to.include('CONTROL_API_TOKEN_PREVIOUS')
    expect(checks['own-tokens']?.evidence).to.include('clawdinator-1, clawdinator-2').and.include('shared token')
    expect(checks['own-tokens']?.fix).to.include('clawctl token add clawdinator-1')
  })

  it('fails each check by itself, with a fix', async () => {
    plane.world.putObject(BUCKET, 'bootstrap/clawdinator-2/config.json', '{}')
    plane.answerAs(({ url }) =>
      url.pathname.endsWith('/workflows/fleet-deploy.yml')
        ? { status: 200, headers: { 'content-type': 'application/json' }, body: '{"state":"disabled_manually"}' }
        : null,
    )
    const answer = await lambda.get('/v1/preflight')
    expect(statuses(answer).filter((one) => one.endsWith('fail'))).to.deep.equal(['workflow fail', 'bundles fail'])
    const { workflow, bundles } = byId(answer)
    expect(workflow?.fix).to.equal('gh workflow enable fleet-deploy.yml')
    expect(bundles?.evidence).to.equal("clawdinator-2: bootstrap/clawdinator-2/config.json is not a bundle's manifest.")
    expect(bundles?.fix).to.be.a('string')
  })

  it('names a bundle without the control token, and leaves a missing bundle to the other check', async () => {
    const key = 'bootstrap/clawdinator-1/config.json'
    const manifest = plane.world.buckets.get(BUCKET)?.get(key)?.body.toString() ?? ''
    plane.world.putObject(BUCKET, key, manifest.replace(/"clawdinator-control-token-clawdinator-1"/, '"other"'))
    const checks = byId(await lambda.get('/v1/preflight'))
    plane.world.putObject(BUCKET, key, manifest)
    expect(checks['token-bundles']).to.include({ status: 'fail' })
    expect(checks['token-bundles']?.evidence).to.equal('It is not in the bundle of clawdinator-1.')
  })

  it('shows the checks that work without GitHub if it refuses the token', async () => {
    plane.answerAs(() => ({ status: 401, body: '{"message":"upstream-body-sentinel"}' }))
    const answer = await lambda.get('/v1/preflight')
    const failed = [
      'github-token',
      'github-dispatch',
      'workflow',
      'registry',
      'bundles',
      'token-bundles',
      'fleet',
      'own-tokens',
    ]
    expect(statuses(answer).filter((one) => one.endsWith('fail'))).to.deep.equal(failed.map((id) => `${id} fail`))
    expect(answer.text).to.include('GITHUB_TOKEN').and.not.include('upstream-body-sentinel')
  })

  it("compares the hosts' App with its own, and checks the permissions of its own", async () => {
    const site = (text: string) => {
      mkdirSync(join(plane.root, 'nix'), { recursive: true })
      writeFileSync(join(plane.root, 'nix/site.nix'), text)
    }
    const apart = async () => byId(await new Lambda(environment(plane)).get('/v1/preflight'))['credentials-apart']
    site('{\n  # githubApp = { appId = "9"; };\n  githubApp = null;\n}')
    expect(await apart()).to.include({ status: 'pass', evidence: 'The hosts have no App.' })
    site('{\n  githubApp = { appId = "123456"; installationId = "1"; };\n}')
    expect((await apart())?.evidence)
      .to.include('App is 123456')
      .and.include('a token')
    site('{ githubApp = import ./elsewhere.nix; }')
    expect((await apart())?.status).to.equal('skip')
    rmSync(join(plane.root, 'nix/site.nix'))

    const asApp = async (appId: string, permissions: Record<string, string>) => {
      const credential = { kind: 'app', expiresAt: null, scopes: null, permissions } as const
      const checks = await serverPreflight({
        ...createPorts(readConfiguration(environment(plane))),
        appId,
        github: {
          site: async () => '{ githubApp = { appId = "7"; installationId = "1"; }; }',
          repository: async () => ({ name: 'acme/fleet', private: true, archived: false, push: null, credential }),
          workflow: async () => null,
        },
      })
      return checks.find(({ id }) => id === 'credentials-apart')
    }
    const needed = { actions: 'write', contents: 'read', metadata: 'read' }
    expect((await asApp('8', needed))?.status).to.equal('pass')
    expect(await asApp('7', needed)).to.include({ status: 'fail' })
    expect((await asApp('8', { ...needed, contents: 'write' }))?.evidence).to.include('contents: write')
  })

  it("skips checks that can't be made", async () => {
    const body = JSON.stringify({ full_name: 'acme/fleet', private: true, permissions: { push: true } })
    const headers = { 'content-type': 'application/json' }
    plane.answerAs(({ url }) => (url.pathname === '/repos/acme/fleet' ? { status: 200, headers, body } : null))
    const bare = new Lambda(environment(plane, { S3_BUCKET: undefined }))
    const answer = await bare.get('/v1/preflight')
    expect(statuses(answer).filter((one) => one.endsWith('skip'))).to.deep.equal([
      'github-dispatch skip',
      'bundles skip',
      'token-bundles skip',
      'control-secrets skip',
      'credentials-apart skip',
    ])
  })
})

describe('declaredInputs', () => {
  it('reads the deploy workflow of this repository', () => {
    const workflow = readFileSync(join(ROOT, WORKFLOW), 'utf8')
    expect(missingInputs(workflow)).to.deep.equal([])
    expect(missingInputs(workflow.replace('      caller:', '      called:'))).to.deep.equal(['caller'])
  })

  it('reads quoted names, comments and other triggers, but only block style', () => {
    const text = [
      'on:',
      '  push:',
      '  # workflow_dispatch:',
      '  workflow_dispatch: # by hand',
      '    inputs:',
      '      "target":',
      '        description: inputs:',
      "      'caller': { type: string }",
      '  schedule: []',
      'jobs: {}',
    ]
    expect(declaredInputs(text.join('\r\n'))).to.deep.equal(['target', 'caller'])
    expect(declaredInputs('on: { workflow_dispatch: { inputs: { target: {} } } }')).to.equal(null)
    expect(declaredInputs('on:\n  workflow_dispatch:\n')).to.equal(null)
    expect(declaredInputs('')).to.equal(null)
  })
})
