/**
 * One HTTP exchange through node:http(s). Global fetch would cost some 150 ms of start-up on Node 20 (undici's wasm),
 * which is more than the rest of `clawctl fleet status` together.
 */
export interface HttpRequest {
  method: string
  url: string
  headers?: Record<string, string>
  body?: string
  /** For the whole exchange, the body included. */
  timeoutMs: number
}

export interface HttpResponse {
  status: number
  headers: Record<string, string>
  body: Buffer
}

/** The connection failed, was dropped, or took too long. Never carries a header or a body. */
export class HttpFailure extends Error {
  override readonly name = 'HttpFailure'
  /** False only where nothing can have reached the server. */
  readonly sent: boolean

  constructor(message: string, sent: boolean, cause?: unknown) {
    super(message, { cause })
    this.sent = sent
  }
}

/** No answer of ours is near this; what is larger is not ours. */
const MAX_BODY_BYTES = 8 * 1024 * 1024

/** @throws HttpFailure */
export function httpRequest(options: HttpRequest): Promise<HttpResponse> {
  const url = new URL(options.url)
  // An import would also build the module's namespace, which costs more than the module.
  const { request: send } = process.getBuiltinModule(url.protocol === 'https:' ? 'node:https' : 'node:http')
  return new Promise((resolve, reject) => {
    let sent = false
    const fail = (message: string, cause?: unknown) => {
      clearTimeout(timer)
      request.destroy()
      reject(new HttpFailure(message, sent, cause))
    }
    const headers = { ...options.headers }
    if (options.body !== undefined) headers['content-length'] = String(Buffer.byteLength(options.body))
    const request = send(url, { method: options.method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      let length = 0
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        length += chunk.length
        if (length > MAX_BODY_BYTES) fail(`${url.host} answered with more than ${MAX_BODY_BYTES} bytes`)
      })
      response.on('end', () => {
        clearTimeout(timer)
        const headers = Object.fromEntries(Object.entries(response.headers).map(([k, v]) => [k, String(v)]))
        resolve({ status: response.statusCode ?? 0, headers, body: Buffer.concat(chunks) })
      })
      response.on('error', (error) => fail(`${url.host} broke off its answer (${describe(error)})`, error))
      response.on('aborted', () => fail(`${url.host} broke off its answer`))
    })
    const timer = setTimeout(
      () => fail(`${url.host} did not answer within ${options.timeoutMs / 1000} s`),
      options.timeoutMs,
    )
    request.on('socket', (socket) => {
      socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        sent = true
      })
    })
    request.on('error', (error) => fail(`${url.host} could not be reached (${describe(error)})`, error))
    request.end(options.body)
  })
}

function describe(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message
}
