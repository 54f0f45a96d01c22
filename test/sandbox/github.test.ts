import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Octokit } from '@octokit/rest'
import { expect } from 'chai'
import { Faults } from '../../sandbox/faults.js'
import { githubEndpoint } from '../../sandbox/github/endpoint.js'
import { GitHub, type GitHubOptions } from '../../sandbox/github/github.js'
import { isWithin } from '../../sandbox/github/rest.js'
import type { Endpoint } from '../../sandbox/http.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'

const REPO = { owner: 'acme', repo: 'fleet' }
const TOKEN = 'test-token'
/** The digest of the file in the test of the contents API, by `git hash-object`. */
const GIT_SHA = '4a2df6c703d085c3a10eb9acaff307468a01aa5f'

/** A workflow that waits for the file `go-<target>` and records the order of its runs. */
const QUEUED = (concurrency: string) => `name: Queued
run-name: "\${{ format('deploy {0}', inputs.target) }}"
on: { workflow_dispatch: { inputs: { target: { required: true } } } }
concurrency: ${concurrency}
jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - env: { TARGET: "\${{ inputs.target }}" }
        run: |
          echo "$TARGET" >> "$HOME/order"
          until [ -e "$HOME/go-$TARGET" ]; do sleep 0.02; done
`

describe('sandbox GitHub', () => {
  let root: string
  let github: GitHub
  let endpoint: Endpoint
  let octokit: Octokit
  let faults: Faults

  async function open(options: Partial<GitHubOptions> = {}): Promise<void> {
    faults = new Faults()
    github = new GitHub({
      repository: 'acme/fleet',
      token: TOKEN,
      workflowDir: root,
      readFile: (path) => readFile(join(root, path)).catch(() => null),
      workDir: join(root, 'work'),
      baseEnv: { PATH: process.env.PATH ?? '', HOME: root },
      faults,
      limits: { sigintMs: 200, sigtermMs: 200, outputMs: 200 },
      ...options,
    })
    endpoint = await githubEndpoint(github)
    octokit = client(TOKEN)
  }

  const client = (token: string) =>
    new Octokit({
      auth: token,
      baseUrl: endpoint.url,
      log: { debug() {}, info() {}, warn() {}, error() {} },
    })

  const put = async (name: string, content: string) => {
    await mkdir(join(root, '.github/workflows'), { recursive: true })
    await writeFile(join(root, '.github/workflows', name), content)
  }

  const dispatch = async (inputs: Record<string, unknown> = {}, workflow_id = 'w.yml', ref = 'main') => {
    const { status, data } = await octokit.request(
      'POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches',
      {
        ...REPO,
        workflow_id,
        ref,
        inputs,
        return_run_details: true,
      },
    )
    expect(status).to.equal(200)
    return Number((data as { workflow_run_id: number }).workflow_run_id)
  }

  const run = async (run_id: number) =>
    (await octokit.request('GET /repos/{owner}/{repo}/actions/runs/{run_id}', { ...REPO, run_id })).data

  const jobs = async (run_id: number) =>
    (await octokit.request('GET /repos/{owner}/{repo}/actions/runs/{run_id}/jobs', { ...REPO, run_id })).data.jobs

  const until = async (run_id: number, status: string) => {
    for (;;) {
      const now = await run(run_id)
      if (now.status === status) return now
      await sleep(10)
    }
  }

  /** Status and message of a request that is refused. */
  const refused = async (request: Promise<unknown>): Promise<[number, string]> => {
    try {
      await request
    } catch (error) {
      const { status, response } = error as { status: number; response: { data: { message: string } } }
      return [status, response.data.message]
    }
    throw new Error('was not refused')
  }

  const appears = async (file: string) => {
    while (!existsSync(join(root, file))) await sleep(5)
  }

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'clawctl-github-'))
  })
  afterEach(async () => {
    await github.close()
    await endpoint.close()
    await rm(root, { recursive: true, force: true })
  })

  it('runs a dispatched workflow and reports it', async () => {
    await put(
      'w.yml',
      `name: Deploy
run-name: "\${{ format('deploy {0} by {1}', inputs.target, inputs.requested_by || 'a bot') }}"
on:
  workflow_dispatch:
    inputs: { target: { required: true }, requested_by: { default: '' } }
jobs:
  deploy:
    name: Deploy it
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo "::notice title=Note::it says \${{ vars.WHERE }}"
          echo "target=$TARGET"
          echo "# Summary" >> "$GITHUB_STEP_SUMMARY"
          test "$(cat "$GITHUB_EVENT_PATH" | grep -c '"target":"web-1"')" = 1
        env: { TARGET: "\${{ github.event.inputs.target }}" }
`,
    )
    await open({ vars: { WHERE: 'here' } })
    const id = await dispatch({ target: 'web-1' })
    const done = await until(id, 'completed')
    expect(done).to.deep.include({
      name: 'Deploy',
      display_title: 'deploy web-1 by a bot',
      conclusion: 'success',
      event: 'workflow_dispatch',
      head_branch: 'main',
      path: '.github/workflows/w.yml',
      run_number: 1,
      html_url: `${endpoint.url}/acme/fleet/actions/runs/${id}`,
    })
    const [job] = await jobs(id)
    expect(job).to.deep.include({ name: 'Deploy it', status: 'completed', conclusion: 'success', run_id: id })
    expect(job?.steps?.map((s) => [s.number, s.name, s.conclusion])).to.deep.equal([
      [1, 'Set up job', 'success'],
      [2, 'Run echo "::notice title=Note::it says here"', 'success'],
      [3, 'Complete job', 'success'],
    ])
    const logs = await octokit.request('GET /repos/{owner}/{repo}/actions/jobs/{job_id}/logs', {
      ...REPO,
      job_id: Number(job?.id),
    })
    expect(logs.data).to.match(/^\d{4}-.*Z target=web-1$/m)
    const { data: notes } = await octokit.request('GET /repos/{owner}/{repo}/check-runs/{check_run_id}/annotations', {
      ...REPO,
      check_run_id: Number(job?.id),
    })
    expect(notes[0]).to.deep.include({ annotation_level: 'notice', title: 'Note', message: 'it says here' })
    expect(github.runOf(id)?.jobs[0]?.steps[1]?.summary).to.equal('# Summary\n')
    const page = await fetch(done.html_url)
    expect(await page.text()).to.include('deploy web-1 by a bot #1: success')
    expect(await readdir(join(root, 'work'))).to.deep.equal([])
  })

  it('refuses requests that GitHub refuses', async () => {
    await put('w.yml', QUEUED('fleet'))
    await put('push.yml', 'on: push\njobs: { a: { runs-on: x, steps: [{ run: "true" }] } }\n')
    await put('bad.yml', 'on: workflow_dispatch\njobs: { a: { runs-on: x, stepz: [] } }\n')
    await put(
      'matrix.yml',
      'on: workflow_dispatch\njobs: { a: { runs-on: x, strategy: { matrix: { v: [1] } }, steps: [{ run: "true" }] } }\n',
    )
    await open()
    expect(await refused(dispatch({}))).to.deep.equal([422, "Required input 'target' not provided"])
    expect(await refused(dispatch({ target: 'a', x: '1' }))).to.deep.equal([422, 'Unexpected inputs provided: ["x"]'])
    expect(await refused(dispatch({ target: 'a' }, 'w.yml', 'nope'))).to.deep.equal([422, 'No ref found for: nope'])
    expect(await refused(dispatch({}, 'push.yml'))).to.deep.equal([
      422,
      "Workflow does not have 'workflow_dispatch' trigger",
    ])
    expect((await refused(dispatch({}, 'bad.yml')))[1]).to.include("Unexpected value 'stepz'")
    expect((await refused(dispatch({}, 'matrix.yml')))[1]).to.include('the sandbox does not run jobs.a.strategy')
    expect(await refused(dispatch({}, 'none.yml'))).to.deep.equal([404, 'Not Found'])
    expect(await refused(octokit.request('GET /repos/{owner}/{repo}', { owner: 'acme', repo: 'other' }))).to.deep.equal(
      [404, 'Not Found'],
    )
    expect(await refused(client('wrong').request('GET /rate_limit'))).to.deep.equal([401, 'Bad credentials'])
    expect((await client(github.jobToken).request('GET /repos/{owner}/{repo}', REPO)).data.default_branch).to.equal(
      'main',
    )
    expect(github.runs).to.deep.equal([])
  })

  it("answers 204 if the run's details are not requested, or are disabled", async () => {
    await put('w.yml', QUEUED('fleet'))
    await writeFile(join(root, 'go-a'), '')
    await open({ runDetails: false })
    const request = { ...REPO, workflow_id: 'w.yml', ref: 'main', inputs: { target: 'a' } }
    const route = 'POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches'
    expect((await octokit.request(route, request)).status).to.equal(204)
    expect((await octokit.request(route, { ...request, return_run_details: true })).status).to.equal(204)
    await github.idle()
    const { data } = await octokit.request('GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs', {
      ...REPO,
      workflow_id: 'w.yml',
      per_page: 1,
    })
    expect(data.total_count).to.equal(2)
    expect(data.workflow_runs.map((r) => r.run_number)).to.deep.equal([2])
  })

  it('cancels the older pending run by default', async () => {
    await put('w.yml', QUEUED('{ group: Fleet }'))
    await open()
    const first = await dispatch({ target: 'one' })
    await appears('order')
    const second = await dispatch({ target: 'two' })
    expect((await run(second)).status).to.equal('pending')
    expect(await jobs(second)).to.deep.equal([])
    const third = await dispatch({ target: 'three' })
    expect(await until(second, 'completed')).to.deep.include({ conclusion: 'cancelled' })
    expect(github.runOf(second)?.messages).to.deep.equal([
      'Canceling since a higher priority waiting request for Fleet exists',
    ])
    for (const target of ['one', 'three']) await writeFile(join(root, `go-${target}`), '')
    await github.idle()
    expect([(await run(first)).conclusion, (await run(third)).conclusion]).to.deep.equal(['success', 'success'])
    expect(await readFile(join(root, 'order'), 'utf8')).to.equal('one\nthree\n')
  })

  it('keeps the order with queue: max, up to its limit', async () => {
    await put('w.yml', QUEUED('{ group: fleet, queue: max }'))
    await open({ limits: { maxPending: 2 } })
    const ids = []
    for (const target of ['one', 'two', 'three']) ids.push(await dispatch({ target }))
    const tooMany = await dispatch({ target: 'four' })
    expect((await until(tooMany, 'completed')).conclusion).to.equal('cancelled')
    for (const target of ['three', 'two', 'one']) await writeFile(join(root, `go-${target}`), '')
    await github.idle()
    for (const id of ids) expect((await run(id)).conclusion).to.equal('success')
    expect(await readFile(join(root, 'order'), 'utf8')).to.equal('one\ntwo\nthree\n')
  })

  it('supports cancel-in-progress', async () => {
    await put('w.yml', QUEUED('{ group: fleet, cancel-in-progress: true }'))
    await open()
    const first = await dispatch({ target: 'one' })
    await appears('order')
    await writeFile(join(root, 'go-two'), '')
    const second = await dispatch({ target: 'two' })
    expect((await until(second, 'completed')).conclusion).to.equal('success')
    expect((await run(first)).conclusion).to.equal('cancelled')
  })

  it('cancels a run only once on request', async () => {
    await put('w.yml', QUEUED('fleet'))
    await open()
    const route = 'POST /repos/{owner}/{repo}/actions/runs/{run_id}/cancel'
    const [running, waiting] = [await dispatch({ target: 'one' }), await dispatch({ target: 'two' })]
    await appears('order')
    for (const run_id of [waiting, running])
      expect((await octokit.request(route, { ...REPO, run_id })).status).to.equal(202)
    for (const id of [running, waiting]) expect((await until(id, 'completed')).conclusion).to.equal('cancelled')
    expect((await refused(octokit.request(route, { ...REPO, run_id: running })))[0]).to.equal(409)
  })

  it('loses the runner, and starts the next run', async () => {
    await put('w.yml', QUEUED('{ group: fleet, queue: max }'))
    await open()
    const first = await dispatch({ target: 'one' })
    const second = await dispatch({ target: 'two' })
    await writeFile(join(root, 'go-two'), '')
    await appears('order')
    expect(github.killRunner()).to.deep.equal([first])
    expect((await until(first, 'completed')).conclusion).to.equal('failure')
    expect((await until(second, 'completed')).conclusion).to.equal('success')
    const [job] = await jobs(first)
    expect(job?.conclusion).to.equal('failure')
    expect(job?.steps?.map((s) => s.status)).to.deep.equal(['completed', 'in_progress', 'queued'])
  })

  it('filters and pages the runs', async () => {
    await put('w.yml', QUEUED('{ group: fleet, queue: max }'))
    await writeFile(join(root, 'go-a'), '')
    await open()
    for (let i = 0; i < 3; i += 1) await dispatch({ target: 'a' })
    await github.idle()
    const list = async (query: Record<string, unknown>) => {
      const { data, headers } = await octokit.request(
        'GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs',
        {
          ...REPO,
          workflow_id: 'w.yml',
          ...query,
        },
      )
      return { numbers: data.workflow_runs.map((r) => r.run_number), link: headers.link }
    }
    expect((await list({ status: 'success' })).numbers).to.deep.equal([3, 2, 1])
    expect((await list({ status: 'failure' })).numbers).to.deep.equal([])
    expect((await list({ event: 'push' })).numbers).to.deep.equal([])
    expect((await list({ created: '>=2000-01-01' })).numbers).to.deep.equal([3, 2, 1])
    expect((await list({ created: '<2000-01-01' })).numbers).to.deep.equal([])
    const second = await list({ per_page: 2, page: 2 })
    expect(second.numbers).to.deep.equal([1])
    expect((await list({ per_page: 2 })).link).to.include('page=2>; rel="next"')
    expect(isWithin('2026-01-02T10:00:00Z', '2026-01-01..2026-01-02')).to.equal(true)
    const { data } = await octokit.request('GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}', {
      ...REPO,
      workflow_id: 'w.yml',
    })
    expect(data).to.deep.include({ name: 'Queued', state: 'active', path: '.github/workflows/w.yml' })
    const byId = await octokit.request('GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}', {
      ...REPO,
      workflow_id: data.id,
    })
    expect(byId.data.path).to.equal(data.path)
  })

  it('serves the files of the working tree', async () => {
    await open()
    await writeFile(join(root, 'a file.json'), '{"é": 1}\n')
    const route = 'GET /repos/{owner}/{repo}/contents/{path}'
    const { data } = await octokit.request(route, { ...REPO, path: 'a file.json', ref: 'main' })
    if (Array.isArray(data) || data.type !== 'file') throw new Error('not a file')
    expect(Buffer.from(data.content, 'base64').toString()).to.equal('{"é": 1}\n')
    expect(data.sha).to.equal(GIT_SHA)
    const raw = await octokit.request(route, {
      ...REPO,
      path: 'a file.json',
      headers: { accept: 'application/vnd.github.raw+json' },
    })
    expect(String(raw.data)).to.equal('{"é": 1}\n')
    expect((await refused(octokit.request(route, { ...REPO, path: 'none' })))[0]).to.equal(404)
    expect(await refused(octokit.request(route, { ...REPO, path: 'a file.json', ref: 'x' }))).to.deep.equal([
      404,
      'No commit found for the ref x',
    ])
  })

  it("fails with GitHub's answers", async () => {
    await open()
    faults.add(parseFault('github:throttle=1'))
    const error = await octokit.request('GET /rate_limit').catch((e: unknown) => e)
    expect(error).to.have.property('status', 403)
    expect(error).to.have.nested.property('response.headers.retry-after', '1')
    faults.add(parseFault('github:error=1'))
    expect((await refused(octokit.request('GET /rate_limit')))[0]).to.equal(502)
    expect((await octokit.request('GET /rate_limit')).data.rate.limit).to.equal(5000)
  })

  it('leaves nothing behind after it is closed', async () => {
    await put('w.yml', QUEUED('{ group: fleet, queue: max }'))
    await open()
    const ids = [await dispatch({ target: 'one' }), await dispatch({ target: 'two' })]
    await appears('order')
    await github.close()
    expect(ids.map((id) => github.runOf(id)?.status)).to.deep.equal(['completed', 'completed'])
    expect(await readFile(join(root, 'order'), 'utf8')).to.equal('one\n')
    expect(await readdir(join(root, 'work'))).to.deep.equal([])
  })
})
