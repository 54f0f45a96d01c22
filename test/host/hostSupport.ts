import { createHash, createHmac } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { execa } from 'execa'
import { ROOT, surroundings } from '../support/cli.js'

export const script = (name: string) => join(ROOT, 'scripts', name)

export interface Ran {
  code: number
  stdout: string
  stderr: string
}

/** Runs a real script of the host. */
export async function runScript(
  name: string,
  args: readonly string[] = [],
  options: { env?: Record<string, string>; input?: string | Buffer; cwd?: string } = {},
): Promise<Ran> {
  const { exitCode, stdout, stderr } = await execa('bash', [script(name), ...args], {
    env: { ...surroundings(), S3_PAUSE: '0', ...options.env },
    extendEnv: false,
    reject: false,
    stripFinalNewline: false,
    timeout: 60_000,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? { stdin: 'ignore' } : { input: options.input }),
  })
  return { code: exitCode ?? -1, stdout, stderr }
}

export const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')

/** Whether a request is signed as S3 requires (Signature Version 4), with the digest of this body. */
export function signedFor(
  {
    method,
    url,
    headers,
  }: { method?: string | undefined; url?: string | undefined; headers: IncomingMessage['headers'] },
  secret: string,
  body = '',
): boolean {
  const [, credential = '', names = '', signature = ''] =
    /Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=(\w+)/.exec(headers.authorization ?? '') ?? []
  const scope = credential.split('/').slice(1)
  const value = (name: string) => String(headers[name] ?? '').trim()
  const canonical = [
    method,
    url,
    '',
    ...names.split(';').map((name) => `${name}:${value(name)}`),
    '',
    names,
    sha256(body),
  ]
  const text = ['AWS4-HMAC-SHA256', value('x-amz-date'), scope.join('/'), sha256(canonical.join('\n'))].join('\n')
  const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest()
  const key = scope.reduce<string | Buffer>(hmac, `AWS4${secret}`)
  return value('x-amz-content-sha256') === sha256(body) && hmac(key, text).toString('hex') === signature
}

/** A service on loopback for one test. */
export async function serve(
  answer: (request: IncomingMessage, response: ServerResponse, body: string) => void,
): Promise<{ url: string; close(): Promise<unknown> }> {
  const server: Server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    answer(request, response, body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

/**
 * The services of an EC2 machine on loopback: its metadata, and a bucket whose objects a test may set, deny or read.
 */
export async function machine(instance = 'i-0123456789abcdef0') {
  const objects = new Map<string, string>()
  const puts: { key: string; body: string; signed: boolean }[] = []
  const trouble: { status?: number; code?: string } = {}
  const asked: string[] = []
  const service = await serve((request, response, body) => {
    const { url = '', method } = request
    const metadata = url.replace('/latest/meta-data/', '')
    if (url === '/latest/api/token') response.end('token')
    else if (metadata === 'instance-id') response.end(instance)
    else if (metadata === 'ami-id') response.end('ami-0123456789abcdef0')
    else {
      const key = url.replace('/fleet/', '')
      asked.push(`${method} ${key}`)
      if (trouble.status !== undefined) {
        response.writeHead(trouble.status).end(`<Error><Code>${trouble.code}</Code></Error>`)
      } else if (method === 'PUT') {
        puts.push({ key, body, signed: signedFor(request, 'b', body) })
        response.end()
      } else if (objects.has(key)) response.end(objects.get(key))
      else response.writeHead(404).end('<Error><Code>NoSuchKey</Code></Error>')
    }
  })
  return {
    objects,
    puts,
    trouble,
    asked,
    close: service.close,
    env: {
      AWS_EC2_METADATA_SERVICE_ENDPOINT: service.url,
      AWS_ENDPOINT_URL_S3: service.url,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'a',
      AWS_SECRET_ACCESS_KEY: 'b',
      S3_BUCKET: 'fleet',
    },
  }
}

/**
 * A systemctl that logs its calls to `systemctl.log` below the test's root. `show` prints the file `units/UNIT`, lines
 * of Property=value; `is-active` reads its ActiveState.
 */
export const SYSTEMCTL = `
R=$CLAWCTL_HOST_ROOT
case $1 in
  show)
    unit=\${!#} value='' properties=''
    for argument; do case $argument in --value) value=1 ;; --property=*) properties=\${argument#--property=} ;; esac; done
    for property in \${properties//,/ }; do
      line=$(grep -s "^$property=" "$R/units/$unit" || case $property in
        ActiveState) echo ActiveState=inactive ;; MainPID | NRestarts) echo "$property=0" ;; *) echo "$property=" ;;
      esac)
      if [[ -n $value ]]; then printf '%s\n' "\${line#*=}"; else printf '%s\n' "$line"; fi
    done ;;
  is-active) grep -qsx ActiveState=active "$R/units/\${!#}" ;;
  *) printf '%s\n' "$*" >>"$R/systemctl.log" ;;
esac`

/** A separate folder for each test of the suite, and one with programs that precede those of the machine in PATH. */
export function throwAwayRoot() {
  let folder = ''
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'clawctl-host-test-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))
  return {
    path: (...parts: string[]) => join(folder, ...parts),
    async write(path: string, text: string | Buffer) {
      const file = join(folder, path)
      await mkdir(join(file, '..'), { recursive: true })
      await writeFile(file, text)
      return file
    },
    read: (path: string) => readFile(join(folder, path), 'utf8'),
    /** A program for scripts to find; the text is a bash script. */
    async program(name: string, text: string) {
      await mkdir(join(folder, 'bin'), { recursive: true })
      await writeFile(join(folder, 'bin', name), `#!/usr/bin/env bash\n${text}\n`, { mode: 0o755 })
    },
    withPrograms: () => ({ PATH: `${join(folder, 'bin')}${delimiter}${process.env.PATH ?? ''}` }),
  }
}

export interface Sabotage {
  /** Sends only so many bytes of this answer's body, then drops the connection. */
  cutAfter?: number
  /** Answers with this instead of forwarding. */
  status?: number
  body?: string
}

/** A proxy between a script and a service: counts requests, reads the process table, and breaks answers on demand. */
export class Between {
  readonly seen: { method: string; url: string; headers: IncomingMessage['headers'] }[] = []
  /** Texts that the process table contained while a request was in flight. */
  readonly leaked: string[] = []
  sabotage: (request: IncomingMessage) => Sabotage | undefined | Promise<Sabotage | undefined> = () => undefined
  readonly #server: Server
  readonly #secrets: readonly string[]

  readonly #target: string

  private constructor(target: string, secrets: readonly string[]) {
    this.#target = target
    this.#secrets = secrets
    this.#server = createServer((incoming, answer) => {
      this.#handle(incoming, answer).catch(() => answer.destroy())
    })
  }

  static async start(target: string, secrets: readonly string[] = []): Promise<Between> {
    const between = new Between(target, secrets)
    await new Promise<void>((resolve) => between.#server.listen(0, '127.0.0.1', resolve))
    return between
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  asked(part: string): number {
    return this.seen.filter(({ url }) => url.includes(part)).length
  }

  async #handle(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    this.seen.push({ method: incoming.method ?? '', url: incoming.url ?? '', headers: incoming.headers })
    await this.#lookForSecrets()
    const sabotage = await this.sabotage(incoming)
    if (sabotage?.status !== undefined) {
      answer.writeHead(sabotage.status)
      answer.end(sabotage.body ?? '')
      return
    }
    const upstream = request(new URL(incoming.url ?? '/', this.#target), {
      method: incoming.method,
      headers: incoming.headers,
    })
    incoming.pipe(upstream)
    const from = await new Promise<IncomingMessage>((resolve, reject) => {
      upstream.on('response', resolve).on('error', reject)
    })
    answer.writeHead(from.statusCode ?? 502, from.headers)
    if (sabotage?.cutAfter === undefined) {
      from.pipe(answer)
      return
    }
    const chunks: Buffer[] = []
    for await (const chunk of from) chunks.push(chunk as Buffer)
    answer.write(Buffer.concat(chunks).subarray(0, sabotage.cutAfter), () => answer.destroy())
  }

  async #lookForSecrets(): Promise<void> {
    // Reading the table takes longer than a request, so only the first few requests read it.
    if (this.#secrets.length === 0 || this.seen.length > 2) return
    for (const pid of (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))) {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      this.leaked.push(...this.#secrets.filter((secret) => line.includes(secret)))
    }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
