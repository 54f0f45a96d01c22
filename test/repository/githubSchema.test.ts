import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { Octokit } from '@octokit/rest'
import { expect } from 'chai'
import type { Answered } from '../../sandbox/http.js'
import { githubDescription, githubProblems } from '../support/heldToContract.js'
import { ROOT } from '../support/plane.js'
import { sourcesBelow } from '../support/sources.js'

const RUNS = '/repos/acme/fleet/actions/workflows/fleet-deploy.yml/runs'
const DISPATCH = '/repos/acme/fleet/actions/workflows/fleet-deploy.yml/dispatches'

const exchange = (method: string, path: string, body: unknown, status: number, answer: unknown): Answered => ({
  service: 'github',
  exchange: {
    method,
    url: new URL(`http://127.0.0.1${path}`),
    headers: { 'user-agent': 'clawctl/1' },
    body: Buffer.from(body === undefined ? '' : JSON.stringify(body)),
    stream: Readable.from([]),
  },
  reply: {
    status,
    ...(answer === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(answer) }),
  },
  struck: false,
})

describe("GitHub's own description", () => {
  it('has every operation that the code names', async () => {
    const description = await githubDescription()
    const { rest } = new Octokit()
    const called = sourcesBelow('src').flatMap((file) => {
      const text = readFileSync(join(ROOT, file), 'utf8')
      const spelt = [...text.matchAll(/['"`]((?:GET|POST|PUT|PATCH|DELETE) \/[\w/{}]+)['"`]/g)]
      const methods = [...text.matchAll(/octokit\.rest\.(\w+)\.(\w+)\(/g)].map(([, scope = '', name = '']) => {
        const { endpoint } = Object(rest)[scope][name] as { endpoint: { DEFAULTS: { method: string; url: string } } }
        return `${endpoint.DEFAULTS.method} ${endpoint.DEFAULTS.url}`
      })
      return [...spelt.map(([, operation = '']) => operation), ...methods]
    })
    expect(called).to.include.members([
      'POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches',
      'GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs',
      'POST /repos/{owner}/{repo}/git/trees',
    ])
    const unknown = called.filter((operation) => {
      const [method = '', path = ''] = operation.split(' ')
      return !path.startsWith('/v1/') && description.operationOf(method, path) !== operation
    })
    expect(unknown, 'add them to scripts/githubSchema.ts').to.deep.equal([])
  })

  it('detects an invalid request of our code', async () => {
    const none = { workflow_runs: [], total_count: 0 }
    for (const [wrong, ...words] of [
      [exchange('GET', `${RUNS}?per_page=many`, undefined, 200, none), 'per_page'],
      [exchange('GET', `${RUNS}?limit=5`, undefined, 200, none), 'query parameter limit is not described'],
      [exchange('POST', DISPATCH, { inputs: {} }, 204, undefined), "property 'ref'"],
      [exchange('POST', DISPATCH, { ref: 'main', inputs: [] }, 204, undefined), '/inputs must be object'],
      [exchange('POST', DISPATCH, undefined, 204, undefined), 'not JSON'],
      [exchange('DELETE', '/repos/acme/fleet', undefined, 204, undefined), 'is not described'],
    ] as const) {
      const problems = await githubProblems(wrong)
      expect(problems.join('\n')).to.include(words[0])
    }
    expect(await githubProblems(exchange('GET', `${RUNS}?per_page=5`, undefined, 200, none))).to.deep.equal([])
  })

  it('detects an invalid answer of the emulated GitHub', async () => {
    const ask = { ref: 'main', inputs: { target: 'all' }, return_run_details: true }
    const answer = { workflow_run_id: 1, run_url: 'https://a.example/1', html_url: 'https://a.example/2' }
    expect(await githubProblems(exchange('POST', DISPATCH, ask, 200, answer))).to.deep.equal([])
    expect(await githubProblems(exchange('POST', DISPATCH, ask, 204, undefined))).to.deep.equal([])
    for (const [status, body, words] of [
      [200, { ...answer, workflow_run_id: '1' }, '/workflow_run_id must be integer'],
      [200, { ...answer, html_url: undefined }, "property 'html_url'"],
      [201, answer, 'answers 201, which is not described'],
      [204, answer, 'with a body'],
      [418, { message: 7 }, '/message must be string'],
    ] as const) {
      const problems = await githubProblems(exchange('POST', DISPATCH, ask, status, body))
      expect(problems.join('\n')).to.include(words)
    }
  })
})
