import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod/mini'
import { lockSchema, type StateLock } from '../../src/lib/domain/deploy/stateLock.js'
import { type GetObjectCommandOutput, isAwsError, type S3 } from './awsPorts.js'
import { Diagnostic } from './diagnostic.js'
import { State, TOFU_VERSION } from './state.js'

export const backendConfigSchema = z.record(z.string(), z.string())
export type BackendConfig = z.infer<typeof backendConfigSchema>

const CONFIG_KEYS = ['bucket', 'key', 'region', 'use_lockfile', 'encrypt', 'dynamodb_table', 'use_path_style']
const REQUIRED_KEYS = ['bucket', 'key', 'region']

/** The file in which `init` stores the backend, as in the real OpenTofu. */
const FILE = 'terraform.tfstate'
const rememberedSchema = z.object({
  backend: z.object({ type: z.literal('s3'), config: backendConfigSchema, declared: backendConfigSchema }),
})

/** `init`: the declared arguments, overridden by -backend-config. */
export function rememberBackend(
  dataDir: string,
  declared: ReadonlyMap<string, string>,
  given: readonly string[],
): BackendConfig {
  const config: BackendConfig = Object.fromEntries(declared)
  for (const pair of given) {
    const equals = pair.indexOf('=')
    if (equals < 0) {
      throw new Diagnostic(
        'Invalid backend configuration argument',
        `The stand-in reads key=value, not a file: ${pair}`,
      )
    }
    config[pair.slice(0, equals)] = pair.slice(equals + 1)
  }
  const unknown = Object.keys(config).find((key) => !CONFIG_KEYS.includes(key))
  if (unknown !== undefined) {
    throw new Diagnostic(
      'Invalid backend configuration argument',
      `The backend configuration argument "${unknown}" is not one that the stand-in knows: ${CONFIG_KEYS.join(', ')}.`,
    )
  }
  const missing = REQUIRED_KEYS.find((key) => !config[key])
  if (missing !== undefined) {
    throw new Diagnostic(`Missing Required Value`, `The attribute "${missing}" is required by the backend.`)
  }
  mkdirSync(dataDir, { recursive: true })
  const remembered = {
    version: 3,
    terraform_version: TOFU_VERSION,
    serial: 1,
    backend: { type: 's3', config, declared: Object.fromEntries(declared) },
  }
  writeFileSync(join(dataDir, FILE), `${JSON.stringify(remembered, null, 2)}\n`)
  return config
}

/** @throws Diagnostic if `init` was not run here, or the stack's backend block has changed since */
export function recallBackend(dataDir: string, declared: ReadonlyMap<string, string> | null): BackendConfig {
  const path = join(dataDir, FILE)
  const known = existsSync(path) ? rememberedSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).backend : null
  const sorted = (config: Iterable<[string, string]>) => JSON.stringify([...config].sort())
  if (known && sorted(Object.entries(known.declared)) === sorted(declared ?? [])) return known.config
  const reason = known
    ? 'Backend configuration block has changed'
    : 'Initial configuration of the requested backend "s3"'
  throw new Diagnostic(
    'Backend initialization required, please run "tofu init"',
    `Reason: ${reason}\n\nThe "backend" is the interface that OpenTofu uses to store state, perform operations, etc. If this message is showing up, it means that the OpenTofu configuration you're using is using a custom configuration for the OpenTofu backend.`,
  )
}

/** The first wait of the real OpenTofu; it doubles, and here stays below two seconds. */
const FIRST_LOCK_DELAY_MS = 1000

/** State and lock in S3, as in the real backend with use_lockfile. */
export class Backend {
  readonly #s3: S3
  readonly #config: BackendConfig

  constructor(s3: S3, config: BackendConfig) {
    this.#s3 = s3
    this.#config = config
  }

  async readState(): Promise<State> {
    const text = await this.#get(this.#key)
    return text === null ? new State() : State.parse(text)
  }

  /** The next version of the state. */
  async writeState(state: State): Promise<void> {
    await this.#put(state.serialize())
  }

  /** `state push`: stores a file unchanged. */
  async pushState(state: State): Promise<void> {
    await this.#put(state.text())
  }

  async #put(body: string): Promise<void> {
    await this.#s3.put({ ...this.#at(this.#key), Body: body, ContentType: 'application/json' })
  }

  /** Takes the lock, and returns a function that releases it. Waits up to `timeoutMs` for another holder. */
  async lock(
    operation: 'OperationTypePlan' | 'OperationTypeApply' | 'OperationTypeInvalid',
    timeoutMs: number,
    signal: AbortSignal,
    say: (line: string) => void,
  ): Promise<() => Promise<void>> {
    if (this.#config.use_lockfile !== 'true') return async () => {}
    const info: StateLock = {
      ID: randomUUID(),
      Operation: operation,
      Info: '',
      Who: `${userInfo().username}@${hostname()}`,
      Version: TOFU_VERSION,
      Created: new Date().toISOString(),
      Path: `${this.#config.bucket}/${this.#key}`,
    }
    const deadline = Date.now() + timeoutMs
    for (let delay = FIRST_LOCK_DELAY_MS; ; delay = Math.min(delay * 2, 2000)) {
      const refusal = await this.#tryLock(info)
      if (refusal === null) return () => this.unlock(info.ID)
      const left = deadline - Date.now()
      if (left <= 0) throw refusal
      if (delay === FIRST_LOCK_DELAY_MS) say('Acquiring state lock. This may take a few moments...')
      await sleep(Math.min(delay, left), undefined, { signal }).catch(() => {
        throw new Diagnostic('execution halted')
      })
    }
  }

  /** @throws Diagnostic if the lock has another id, or there is none */
  async unlock(id: string): Promise<void> {
    const held = await this.#readLock()
    if (held?.ID !== id) {
      const why = held ? `lock id "${id}" does not match existing lock` : 'the state is not locked'
      throw new Diagnostic('Failed to unlock state', `failed to retrieve lock info: ${why}`)
    }
    await this.#s3.delete(this.#at(this.#lockKey))
  }

  /** Null on success, else the error that names the holder. */
  async #tryLock(info: StateLock): Promise<Diagnostic | null> {
    try {
      await this.#s3.put({
        ...this.#at(this.#lockKey),
        Body: JSON.stringify(info),
        ContentType: 'application/json',
        IfNoneMatch: '*',
      })
      return null
    } catch (error) {
      if (!isAwsError(error, 'PreconditionFailed', 'ConditionalRequestConflict')) throw error
      const held = await this.#readLock()
      // Also if it is our own lock after a lost answer: the real OpenTofu waits for itself, too.
      return new Diagnostic('Error acquiring the state lock', lockRefusal((error as Error).message, held))
    }
  }

  async #readLock(): Promise<StateLock | null> {
    const text = await this.#get(this.#lockKey)
    return text === null ? null : lockSchema.parse(JSON.parse(text))
  }

  async #get(key: string): Promise<string | null> {
    let answer: GetObjectCommandOutput
    try {
      answer = await this.#s3.get(this.#at(key))
    } catch (error) {
      if (isAwsError(error, 'NoSuchKey')) return null
      throw error
    }
    return (await answer.Body?.transformToString()) ?? ''
  }

  get #key(): string {
    return this.#config.key ?? ''
  }

  get #lockKey(): string {
    return `${this.#key}.tflock`
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#config.bucket ?? '', Key: key }
  }
}

function lockRefusal(cause: string, held: StateLock | null): string {
  const info = held
    ? `Lock Info:
  ID:        ${held.ID}
  Path:      ${held.Path}
  Operation: ${held.Operation}
  Who:       ${held.Who}
  Version:   ${held.Version}
  Created:   ${goTime(held.Created)}
  Info:      ${held.Info}
`
    : ''
  return `Error message: operation error S3: PutObject, https response error StatusCode: 412, api error PreconditionFailed: ${cause}
${info}

OpenTofu acquires a state lock to protect the state from being written by multiple users at the same time. Please resolve the issue above and try again. For most commands, you can disable locking with the "-lock=false" flag, but this is not recommended.`
}

/** As Go prints a time: 2026-11-22 17:17:08.123 +0000 UTC. */
function goTime(iso: string): string {
  return `${iso.replace('T', ' ').replace(/Z$/, '')} +0000 UTC`
}
