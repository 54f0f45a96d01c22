import { expect } from 'chai'
import { heartbeatOf, hostOf } from '../support/fakes.js'
import { BUCKET, LATEST, OLDER, startPlane, type TestPlane } from '../support/plane.js'
import { environment, event, Lambda, PREVIOUS, TOKEN } from './invoke.js'

describe('Control API: routes', () => {
  let plane: TestPlane
  let lambda: Lambda
  beforeEach(async () => {
    plane = await startPlane()
    lambda = new Lambda(environment(plane))
  })
  afterEach(() => plane.close())

  it('starts one run with exactly the inputs of the workflow', async () => {
    const asked = {
      target: 'clawdinator-2',
      amiOverride: OLDER,
      caller: 'clawdinator-1',
      requestedBy: 'Jo "the" [boss] <b>',
      requestId: 'request-0001',
    }
    const answer = await lambda.deploy(asked)
    expect(answer.status).to.equal(202)
    const [run] = plane.github.runs
    expect(answer.deploy).to.deep.include({
      ...asked,
      ami: OLDER,
      status: 'queued',
      waitsFor: null,
      runId: run?.id,
      runUrl: `${plane.githubUrl}/acme/fleet/actions/runs/${run?.id}`,
      hosts: [],
      error: null,
    })
    const [dispatch, ...more] = plane.dispatches()
    expect(more).to.deep.equal([])
    expect(dispatch?.path).to.equal('/repos/acme/fleet/actions/workflows/fleet-deploy.yml/dispatches')
    expect(JSON.parse(dispatch?.body ?? '')).to.deep.equal({
      ref: 'main',
      inputs: {
        target: 'clawdinator-2',
        ami_override: OLDER,
        request_id: 'request-0001',
        requested_by: 'Jo "the" [boss] <b>',
        caller: 'clawdinator-1',
        identity: 'host claimed, person claimed',
      },
      return_run_details: true,
    })
    expect(answer.line).to.include({ awsRequestId: 'aws-1', route: 'createDeploy', method: 'POST' })
  })

  it('accepts an AMI of another account if the account is listed', async () => {
    const { id } = plane.world.addImage({ name: 'theirs', ownerId: '444455556666' })
    const asked = { target: 'clawdinator-2', amiOverride: id, requestedBy: 'Jo' }
    const refused = await lambda.deploy(asked)
    expect(refused.code).to.equal('AMI_REFUSED')
    expect(refused.hint).to.include('ami_owners')
    const listed = new Lambda(environment(plane, { AMI_OWNERS: '111122223333,444455556666' }))
    expect((await listed.deploy(asked)).status).to.equal(202)
  })

  it('leaves fields that were not given out of the dispatch, and makes a request id', async () => {
    const { deploy } = await lambda.deploy({ target: 'clawdinator-2' })
    expect(deploy.requestId).to.match(/^[0-9a-f]{8}-[0-9a-f-]{27}$/)
    expect(deploy).to.include({
      target: 'clawdinator-2',
      ami: null,
      amiOverride: null,
      caller: null,
      requestedBy: null,
    })
    expect(JSON.parse(plane.dispatches()[0]?.body ?? '').inputs).to.deep.equal({
      target: 'clawdinator-2',
      request_id: deploy.requestId,
      identity: 'unknown, shared token',
    })
  })

  it('finds the run by its name if GitHub does not return it', async () => {
    await plane.close()
    plane = await startPlane({ runDetails: false })
    lambda = new Lambda(environment(plane))
    const { status, deploy } = await lambda.deploy({ target: 'clawdinator-1', requestId: 'request-0002' })
    expect(status).to.equal(202)
    expect(deploy.runId).to.equal(plane.github.runs[0]?.id)
    expect(deploy.runUrl).to.equal(`${plane.githubUrl}/acme/fleet/actions/runs/${deploy.runId}`)
  })

  it('finds a run that GitHub started although its answer failed', async () => {
    plane.answerAs(({ method }) => {
      if (method !== 'POST') return null
      void plane.github.dispatch('fleet-deploy.yml', 'main', { target: 'clawdinator-1', request_id: 'request-0003' })
      return { status: 502, body: 'upstream-body-sentinel' }
    })
    const { status, deploy } = await lambda.deploy({ target: 'clawdinator-1', requestId: 'request-0003' })
    expect([status, deploy.runId]).to.deep.equal([202, plane.github.runs[0]?.id])
    expect(plane.dispatches()).to.have.length(1)
  })

  it('starts one run for one request id, and refuses another deploy with it', async () => {
    const asked = { target: 'clawdinator-2', requestId: 'request-0004', requestedBy: 'Jo' }
    const first = await lambda.deploy(asked)
    const again = await new Lambda(environment(plane)).deploy(asked)
    expect(again.status).to.equal(202)
    expect(again.deploy.runId).to.equal(first.deploy.runId)
    for (const other of [{ target: 'clawdinator-1' }, { amiOverride: OLDER }, { requestedBy: 'Mo' }]) {
      const conflict = await lambda.deploy({ ...asked, ...other })
      expect([conflict.status, conflict.code]).to.deep.equal([409, 'REQUEST_CONFLICT'])
    }
    expect(plane.github.runs).to.have.length(1)
  })

  it('starts one run for one request id, with any blanks around the name', async () => {
    for (const [n, requestedBy] of ['Jo ', ' ', ' Jo'].entries()) {
      const asked = { target: 'clawdinator-2', requestId: `request-200${n}`, requestedBy, caller: 'clawdinator-1' }
      const answers = [await lambda.deploy(asked), await lambda.deploy(asked)]
      // Refusing such a name is as correct as trimming it.
      if (answers[0]?.status === 400) continue
      expect([requestedBy, ...answers.map(({ code }) => code)]).to.deep.equal([requestedBy, 'OK', 'OK'])
      expect(answers[0]?.deploy.runId).to.equal(answers[1]?.deploy.runId)
    }
  })

  it('reports which deploy a second one waits for', async () => {
    const release = plane.hold()
    const first = await lambda.deploy({ target: 'clawdinator-1', requestId: 'request-first' })
    const waitsFor = { requestId: 'request-first', target: 'clawdinator-1', runId: first.deploy.runId }
    const second = await lambda.deploy({ target: 'clawdinator-2', requestId: 'request-second' })
    expect(second.deploy).to.deep.include({ status: 'queued', waitsFor })
    const asked = await lambda.get('/v1/deploys/request-second')
    expect(asked.deploy).to.deep.include({ status: 'queued', waitsFor, startedAt: null, finishedAt: null, steps: [] })
    const holder = await lambda.get('/v1/deploys/request-first')
    expect(holder.deploy).to.deep.include({ status: 'running', waitsFor: null })
    release()
    await plane.github.idle()
    // Another execution environment, because this one may answer from its cache.
    const { deploys } = await new Lambda(environment(plane)).get('/v1/deploys')
    expect(deploys.map((d) => [d.requestId, d.status, d.waitsFor])).to.have.deep.members([
      ['request-first', 'succeeded', null],
      ['request-second', 'succeeded', null],
    ])
  })

  it('returns one deploy with its steps, by request id or run id', async () => {
    plane.runsExitWith(6)
    const { deploy } = await lambda.deploy({ target: 'clawdinator-1', requestId: 'request-0005' })
    await plane.github.idle()
    const byRequest = await lambda.get('/v1/deploys/request-0005')
    expect(byRequest.status).to.equal(200)
    expect(byRequest.deploy).to.deep.include({ runId: deploy.runId, status: 'failed', hosts: [] })
    expect(byRequest.deploy.error?.code).to.equal('DEPLOY_FAILED')
    expect(byRequest.deploy.steps).to.deep.include({
      job: 'deploy',
      name: 'Deploy',
      status: 'completed',
      conclusion: 'failure',
    })
    expect((await lambda.get(`/v1/deploys/${deploy.runId}`)).text).to.equal(byRequest.text)
  })

  it('returns what the run recorded: hosts, AMI and the reason for the rollback', async () => {
    plane.runsExitWith(6)
    const requestId = 'request-0006'
    await lambda.deploy({ target: 'clawdinator-1', requestId })
    await plane.github.idle()
    putRecord(plane, requestId)
    const { deploy } = await lambda.get(`/v1/deploys/${requestId}`)
    expect(deploy).to.include({ status: 'rolled-back', ami: LATEST })
    expect(deploy.hosts.map((host) => [host.id, host.outcome])).to.deep.equal([
      ['clawdinator-1', 'rolled-back'],
      ['clawdinator-2', 'skipped'],
    ])
    expect(deploy.error?.code).to.equal('ROLLED_BACK')
  })

  it('answers the same request id after the run as GET does', async () => {
    plane.runsExitWith(6)
    const asked = { target: 'clawdinator-1', requestId: 'request-0007' }
    await lambda.deploy(asked)
    await plane.github.idle()
    putRecord(plane, asked.requestId)
    const { deploy } = await lambda.deploy(asked)
    expect([deploy.status, deploy.error?.code]).to.deep.equal(['rolled-back', 'ROLLED_BACK'])
  })

  it('lists the newest deploys first, as many as requested', async () => {
    for (const n of [1, 2, 3]) await lambda.deploy({ target: 'clawdinator-1', requestId: `request-100${n}` })
    await plane.github.idle()
    const { deploys } = await lambda.get('/v1/deploys?limit=2')
    expect(deploys.map((d) => d.requestId)).to.deep.equal(['request-1003', 'request-1002'])
    for (const limit of ['0', '101', '-1', '1.5', 'x', '', 'NaN']) {
      const refused = await lambda.get(`/v1/deploys?limit=${limit}`)
      expect([limit, refused.status, refused.code]).to.deep.equal([limit, 400, 'INVALID_REQUEST'])
    }
  })

  it('shows the desired and the actual fleet', async () => {
    const running = plane.launch('clawdinator-1')
    const orphan = plane.launch('clawdinator-9', { imageId: LATEST })
    const host = hostOf('clawdinator-1', { instanceId: running.id, ami: OLDER })
    const beat = heartbeatOf(host, { revision: 'abc', at: new Date().toISOString() })
    plane.world.putObject(BUCKET, `heartbeats/clawdinator-1/${running.id}.json`, JSON.stringify(beat))
    const { status, fleet } = await lambda.get('/v1/fleet')
    expect(status).to.equal(200)
    expect(fleet.latestAmi).to.include({ id: LATEST, name: `image-${LATEST}` })
    expect(fleet.instances.map((i) => [i.id, i.state, i.instanceId, i.amiStatus, i.health, i.revision])).to.deep.equal([
      ['clawdinator-1', 'running', running.id, 'stale', 'healthy', 'abc'],
      ['clawdinator-2', 'missing', null, 'unknown', 'unknown', null],
      ['clawdinator-9', 'orphan', orphan.id, 'latest', 'unknown', null],
    ])
  })

  it('reports unknown health without a bucket', async () => {
    plane.launch('clawdinator-1', { launchTime: new Date(Date.now() - 3_600_000) })
    const { fleet } = await new Lambda(environment(plane, { S3_BUCKET: undefined })).get('/v1/fleet')
    expect(fleet.instances[0]?.health).to.equal('unknown')
  })

  it('works without a bucket', async () => {
    const bare = new Lambda(environment(plane, { S3_BUCKET: undefined }))
    expect((await bare.get('/v1/fleet')).status).to.equal(200)
    expect((await bare.get('/v1/deploys')).deploys).to.deep.equal([])
  })

  it('accepts the previous token, and the scheme in lower case', async () => {
    for (const authorization of [`Bearer ${PREVIOUS}`, `bearer ${TOKEN}`]) {
      expect((await lambda.send(event('GET', '/v1/deploys', { headers: { authorization } }))).status).to.equal(200)
    }
    const headers = { Authorization: `Bearer ${TOKEN}` }
    expect((await lambda.send(event('GET', '/v1/deploys', { headers }))).status).to.equal(200)
  })
})

function putRecord(plane: TestPlane, requestId: string): void {
  const host = { ami: OLDER, previousAmi: OLDER, instanceId: null }
  const record = {
    schema: 1,
    requestId,
    target: 'all',
    ami: LATEST,
    amiOverride: null,
    caller: null,
    requestedBy: null,
    status: 'rolled-back',
    runId: null,
    runUrl: null,
    createdAt: '2026-11-20T10:00:00Z',
    finishedAt: '2026-11-20T10:05:00Z',
    hosts: [
      { id: 'clawdinator-1', outcome: 'rolled-back', ...host },
      { id: 'clawdinator-2', outcome: 'pending', ...host },
    ],
    error: { code: 'ROLLED_BACK', message: 'clawdinator-1 did not become healthy.' },
  }
  plane.world.putObject(BUCKET, `deploys/${requestId}.json`, JSON.stringify(record))
}
