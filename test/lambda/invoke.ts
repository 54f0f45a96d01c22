import { expect } from 'chai'
import { parseEvent } from '../../lambda/event.js'
import { createHandler, type HandlerOptions } from '../../lambda/handler.js'
import { ROUTES } from '../../lambda/routes.js'
import {
  type Check,
  type Deploy,
  type DeployDetail,
  deployAnswerSchema,
  deployDetailAnswerSchema,
  deploysAnswerSchema,
  type Fleet,
  failureSchema,
  fleetAnswerSchema,
  freezesAnswerSchema,
  preflightAnswerSchema,
} from '../../src/lib/domain/contract/index.js'
import { CODE_NAMES, type Code, httpStatusOf } from '../../src/lib/domain/errors.js'
import { answerProblems } from '../support/heldToContract.js'
import { BUCKET, GITHUB_TOKEN, REGION, REPOSITORY, SECRET_KEY, type TestPlane } from '../support/plane.js'

export const TOKEN = 'cct_current_0123456789'
export const PREVIOUS = 'cct_previous_0123456789'
const SECRETS = [TOKEN, PREVIOUS, GITHUB_TOKEN, SECRET_KEY]

/** The possible fields of an answer, all optional: each test checks the fields that it expects. */
export interface Answer {
  status: number
  /** OK or the error's code. */
  code: Code | 'OK'
  message: string
  hint: string
  deploy: DeployDetail
  deploys: Deploy[]
  next: string | null
  version: string
  sources: Record<string, string>
  fleet: Fleet
  preflight: { checks: Check[] }
  text: string
  /** The one log line of the request. */
  line: Record<string, unknown>
}

export type Env = Record<string, string | undefined>

export function environment(plane: TestPlane, changes: Env = {}): Env {
  return {
    CONTROL_API_TOKEN: TOKEN,
    CONTROL_API_TOKEN_PREVIOUS: PREVIOUS,
    GITHUB_TOKEN,
    GITHUB_REPO: REPOSITORY,
    GITHUB_API_URL: plane.githubUrl,
    S3_BUCKET: BUCKET,
    AWS_REGION: REGION,
    ...changes,
  }
}

/** One execution environment of the Lambda. Every answer is validated by the contract, and searched for secrets. */
export class Lambda {
  readonly lines: string[] = []
  readonly #handler: ReturnType<typeof createHandler>

  constructor(env: Env, options: HandlerOptions = {}) {
    this.#handler = createHandler(env, (line) => this.lines.push(line), options)
  }

  get(path: string): Promise<Answer> {
    return this.send(event('GET', path))
  }

  deploy(body: unknown, more: Record<string, unknown> = {}): Promise<Answer> {
    return this.send(event('POST', '/v1/deploys', { body: JSON.stringify(body), ...more }))
  }

  async send(input: unknown): Promise<Answer> {
    const before = this.lines.length
    const result = await this.#handler(input)
    expect(Object.keys(result)).to.have.members(['statusCode', 'headers', 'body'])
    const { allow, 'www-authenticate': scheme, 'retry-after': retryAfter, ...headers } = result.headers
    expect(headers).to.deep.equal({ 'content-type': 'application/json', 'cache-control': 'no-store' })
    expect(allow !== undefined).to.equal(result.statusCode === 405)
    expect(retryAfter !== undefined).to.equal(result.statusCode === 429)
    expect(scheme).to.equal(result.statusCode === 401 ? 'Bearer' : undefined)
    const body: unknown = JSON.parse(result.body)
    const code = checkContract(body, result.statusCode)
    const { method, path } = parseEvent(input)
    const url = new URL(`http://127.0.0.1${path.startsWith('/') ? '' : '/'}${path}`)
    expect(await answerProblems(method, url, result.statusCode, result.body)).to.deep.equal([])
    const logged = this.lines[before] ?? ''
    const line = JSON.parse(logged) as Record<string, unknown>
    expect(line).to.include({ status: result.statusCode, code })
    const route = ROUTES.find(({ name }) => name === line.route)
    if (route && code !== 'OK') expect(route.codes).to.include(code)
    expect(logged).not.to.include('\n')
    for (const secret of SECRETS) {
      expect(result.body).not.to.include(secret)
      expect(this.lines.join('\n')).not.to.include(secret)
    }
    const { error, ...rest } = body as { error?: { message: string; hint?: string } } & Partial<Answer>
    return { status: result.statusCode, code, text: result.body, line, ...error, ...rest } as Answer
  }
}

const SUCCESSES = [
  deployDetailAnswerSchema,
  deployAnswerSchema,
  deploysAnswerSchema,
  fleetAnswerSchema,
  freezesAnswerSchema,
  preflightAnswerSchema,
]

/** An answer may contain only fields of the contract; the status must be the code's own. */
function checkContract(body: unknown, status: number): Code | 'OK' {
  const failure = failureSchema.safeParse(body)
  if (failure.success) {
    expect(failure.data).to.deep.equal(body)
    expect(CODE_NAMES).to.include(failure.data.error.code)
    expect(status).to.equal(httpStatusOf(failure.data.error.code))
    return failure.data.error.code
  }
  expect([200, 202]).to.include(status)
  const parsed = SUCCESSES.map((schema) => schema.safeParse(body)).filter((result) => result.success)
  expect(parsed.map((result) => JSON.stringify(result.data))).to.include(JSON.stringify(body))
  return 'OK'
}

/** A Function URL event, payload 2.0, of an authenticated caller. */
export function event(method: string, target: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  const [path = '', query = ''] = target.split('?')
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: query,
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    requestContext: { http: { method, path, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1' }, requestId: 'aws-1' },
    isBase64Encoded: false,
    ...more,
  }
}
