import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { armor, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption'
import { SHARED_SECRET_NAMES } from '../../src/lib/domain/bundles/secrets.js'

/** A word that every secret's plaintext holds and no output may. */
export const PLAINTEXT = 'plain-secret-9d1f'

/** A folder with secrets, identities and repositories, as a maintainer has them. */
export class SecretsWorld {
  readonly folder = mkdtempSync(join(tmpdir(), 'clawctl-secrets-'))
  readonly secretsDir = this.path('secrets')
  readonly identitiesDir = this.path('identities')
  /** Opens `identities/<id>.age` of the secrets directory. */
  readonly maintainerKey = this.path('maintainer.key')
  readonly repos = this.path('repos.tsv')
  readonly #identities = new Map<string, string>()

  private constructor() {
    for (const dir of [this.secretsDir, this.identitiesDir]) mkdirSync(dir)
    for (const name of ['identities', 'recipients']) mkdirSync(join(this.secretsDir, name))
  }

  /** Identities and tokens (`token-ID`) of the instances, the shared secrets for all of them, one repository. */
  static async make(ids: readonly string[]): Promise<SecretsWorld> {
    const world = new SecretsWorld()
    const maintainer = await generateX25519Identity()
    world.#identities.set('maintainers', maintainer)
    writeFileSync(world.maintainerKey, `${maintainer}\n`)
    writeFileSync(world.path('secrets/recipients/maintainers.txt'), `${await identityToRecipient(maintainer)}\n`)
    for (const id of ids) {
      const identity = await generateX25519Identity()
      world.#identities.set(id, identity)
      const text = `# of ${id}\n${identity}\n`
      writeFileSync(join(world.identitiesDir, `${id}.key`), text)
      await world.put(`identities/${id}`, [], { plaintext: text })
      writeFileSync(world.path(`secrets/recipients/${id}.txt`), `${await identityToRecipient(identity)}\n`)
    }
    for (const name of SHARED_SECRET_NAMES) await world.put(name, ids, { armored: name === 'openai-api-key' })
    for (const id of ids) await world.put(`token-${id}`, [id])
    world.repository('clawdinators')
    world.list(['clawdinators'])
    return world
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  /** The text of an instance's identity. */
  identity(id: string): string {
    return this.#identities.get(id) ?? ''
  }

  /** Encrypts a secret again, for the maintainers and for instances that have an identity here. */
  async put(
    name: string,
    ids: readonly string[],
    options: { armored?: boolean; plaintext?: string } = {},
  ): Promise<void> {
    const encrypter = new Encrypter()
    for (const id of ['maintainers', ...ids]) encrypter.addRecipient(await identityToRecipient(this.identity(id)))
    const file = await encrypter.encrypt(options.plaintext ?? `${PLAINTEXT} ${name}`)
    this.write(name, options.armored ? armor.encode(file) : file)
  }

  write(name: string, content: string | Uint8Array): void {
    writeFileSync(join(this.secretsDir, `${name}.age`), content)
  }

  /** A repository of one commit, or one more commit in it. */
  repository(name: string, content = 'hello'): string {
    const folder = this.path('repositories', name)
    mkdirSync(join(folder, 'bin'), { recursive: true })
    this.git(folder, 'init', '--quiet', '--initial-branch=main')
    writeFileSync(join(folder, 'README.md'), content)
    writeFileSync(join(folder, 'bin/run'), '#!/bin/sh\n', { mode: 0o755 })
    this.git(folder, 'add', '--all')
    this.git(folder, 'commit', '--quiet', '--allow-empty', '--message=a commit')
    return folder
  }

  /** Writes the list of repositories; a name that was never made has a URL that leads nowhere. */
  list(names: readonly string[], branch = 'main'): void {
    const line = (name: string) => `${name}\tfile://${this.path('repositories', name)}\t${branch}\n`
    writeFileSync(this.repos, `# of the tests\n\n${names.map(line).join('')}`)
  }

  git(folder: string, ...args: string[]): string {
    const who = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b' }
    const env = { PATH: process.env.PATH, HOME: this.folder, GIT_CONFIG_NOSYSTEM: '1', ...who }
    return execFileSync('git', ['-C', folder, ...args], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
