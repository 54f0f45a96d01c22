import { randomUUID } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import * as z from 'zod/mini'
import type { Faults } from './faults.js'
import { type Endpoint, type Exchange, type LoggedRequest, listen, type Reply } from './http.js'

/** The reserved concurrency of the platform stack: beyond it AWS answers 429. */
const RESERVED_CONCURRENCY = 10

/** An execution environment: its own thread and environment variables, one event at a time, like Lambda's. */
const ENVIRONMENT_SOURCE = `
const { parentPort, workerData } = require('node:worker_threads')
import(workerData.module).then(({ handler }) => {
  parentPort.on('message', (event) =>
    Promise.resolve(handler(event)).then(
      (result) => parentPort.postMessage({ result }),
      (error) => parentPort.postMessage({ failure: String(error) }),
    ),
  )
})
`

const resultSchema = z.object({
  statusCode: z.number(),
  headers: z._default(z.record(z.string(), z.string()), {}),
  body: z._default(z.string(), ''),
  isBase64Encoded: z.optional(z.boolean()),
})
const answerSchema = z.union([z.object({ result: resultSchema }), z.object({ failure: z.string() })])

/** The time limit of the platform stack. */
const TIMEOUT_MS = 30_000
/** The answer of a Function URL when the handler throws, crashes or takes too long. */
const CRASHED: Reply = { status: 502, body: 'Internal Server Error' }

class ExecutionEnvironment {
  readonly #worker: Worker
  #settle: ((answer: unknown) => void) | null = null
  busy = false
  dead = false

  constructor(module: string, env: Record<string, string>, onOutput: (text: string) => void) {
    this.#worker = new Worker(ENVIRONMENT_SOURCE, {
      eval: true,
      env,
      // Not the options of the sandbox's own process, such as a loader.
      execArgv: [],
      workerData: { module },
      stdout: true,
      stderr: true,
    })
    this.#worker.stdout.on('data', (chunk) => onOutput(String(chunk)))
    this.#worker.stderr.on('data', (chunk) => onOutput(String(chunk)))
    this.#worker.on('message', (answer) => this.#settle?.(answer))
    const die = () => {
      this.dead = true
      this.#settle?.(null)
    }
    this.#worker.on('error', die)
    this.#worker.on('exit', die)
    this.#worker.unref()
  }

  async invoke(event: object): Promise<Reply> {
    this.busy = true
    const timer = setTimeout(() => void this.stop(), TIMEOUT_MS)
    try {
      const answer = answerSchema.safeParse(
        await new Promise((resolve) => {
          this.#settle = resolve
          if (this.dead) resolve(null)
          else this.#worker.postMessage(event)
        }),
      )
      if (!answer.success || 'failure' in answer.data) return CRASHED
      const { statusCode, headers, body, isBase64Encoded } = answer.data.result
      return { status: statusCode, headers, body: isBase64Encoded ? Buffer.from(body, 'base64') : body }
    } finally {
      clearTimeout(timer)
      this.#settle = null
      this.busy = false
    }
  }

  async stop(): Promise<void> {
    await this.#worker.terminate()
  }
}

export interface FunctionUrlOptions {
  /** The built Lambda, as a file URL. */
  module: string
  /** The whole environment of the function. */
  env: Record<string, string>
  faults: Faults
  log?: (request: LoggedRequest) => void
  /** The function's output: its log. */
  onOutput: (text: string) => void
}

/** The real, built handler behind a server that acts like a Lambda Function URL (auth type NONE, payload 2.0). */
export async function functionUrlEndpoint(options: FunctionUrlOptions): Promise<Endpoint> {
  let environments: ExecutionEnvironment[] = []
  const endpoint = await listen({
    service: 'api',
    faults: options.faults,
    ...(options.log ? { log: options.log } : {}),
    fail: (strike) =>
      strike === 'throttle'
        ? { status: 429, body: JSON.stringify({ Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded' }) }
        : CRASHED,
    async handle(exchange) {
      environments = environments.filter((e) => !e.dead)
      let environment = environments.find((e) => !e.busy)
      if (!environment) {
        if (environments.length >= RESERVED_CONCURRENCY) {
          return { status: 429, body: JSON.stringify({ Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded' }) }
        }
        environment = new ExecutionEnvironment(options.module, options.env, options.onOutput)
        environments.push(environment)
      }
      return environment.invoke(toEvent(exchange))
    },
  })
  return {
    url: endpoint.url,
    async close() {
      await endpoint.close()
      await Promise.all(environments.map((environment) => environment.stop()))
    },
  }
}

const TEXT = /^(?:text\/|application\/(?:json|xml|javascript|x-www-form-urlencoded))/

function toEvent({ method, url, headers, headersDistinct, body }: Exchange): object {
  // As on AWS: the values of a repeated header are joined by a comma.
  const flat = Object.fromEntries(
    Object.entries(headersDistinct ?? headers).map(([name, value]) => [name, [value ?? ''].flat().join(',')]),
  )
  const text = TEXT.test(flat['content-type'] ?? '')
  const query = Object.fromEntries(url.searchParams)
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: url.pathname,
    rawQueryString: url.search.slice(1),
    headers: flat,
    ...(Object.keys(query).length > 0 ? { queryStringParameters: query } : {}),
    requestContext: {
      accountId: 'anonymous',
      apiId: 'sandbox',
      domainName: 'sandbox.lambda-url.eu-central-1.on.aws',
      domainPrefix: 'sandbox',
      http: {
        method,
        path: url.pathname,
        protocol: 'HTTP/1.1',
        sourceIp: '127.0.0.1',
        userAgent: flat['user-agent'] ?? '',
      },
      requestId: randomUUID(),
      routeKey: '$default',
      stage: '$default',
      time: new Date().toUTCString(),
      timeEpoch: Date.now(),
    },
    ...(body.length > 0
      ? { body: body.toString(text ? 'utf8' : 'base64'), isBase64Encoded: !text }
      : { isBase64Encoded: false }),
  }
}
