import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { deflateSync, gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'
import { assembleBundles } from '../src/lib/domain/bundles/assemble.js'
import { objectFile } from '../src/lib/domain/bundles/layout.js'
import { manifestKey } from '../src/lib/domain/bundles/manifest.js'
import { manifestText, planBundle, type WantedObject } from '../src/lib/domain/bundles/plan.js'
import { FINGERPRINT_DIGITS, IDENTITY, ownersOf, SHARED_SECRET_NAMES } from '../src/lib/domain/bundles/secrets.js'
import type { Registry } from '../src/lib/domain/registry/registry.js'
import type { World } from './aws/world.js'

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** A repository of one commit with one file, in the form that `bootstrap upload` packs. */
async function tinyRepository(name: string): Promise<{ archive: Buffer; commit: string }> {
  const objects: [path: string, body: Buffer][] = []
  const add = (type: string, body: Buffer): string => {
    const whole = Buffer.concat([Buffer.from(`${type} ${body.length}\0`), body])
    const id = createHash('sha1').update(whole).digest('hex')
    objects.push([`objects/${id.slice(0, 2)}/${id.slice(2)}`, deflateSync(whole)])
    return id
  }
  const blob = add('blob', Buffer.from(`# ${name}\n\nA stand-in of the sandbox.\n`))
  const tree = add('tree', Buffer.concat([Buffer.from('100644 README.md\0'), Buffer.from(blob, 'hex')]))
  const by = 'clawctl sandbox <sandbox@localhost> 0 +0000'
  const commit = add('commit', Buffer.from(`tree ${tree}\nauthor ${by}\ncommitter ${by}\n\nA stand-in\n`))
  const tar = pack()
  const fixed = { mtime: new Date(0), uid: 0, gid: 0 }
  for (const folder of ['', '.git/', '.git/refs/']) {
    tar.entry({ ...fixed, name: `${name}/${folder}`, type: 'directory', mode: 0o755 })
  }
  const files: [string, string | Buffer][] = [
    ['HEAD', 'ref: refs/heads/main\n'],
    ['config', '[core]\n\trepositoryformatversion = 0\n\tbare = false\n'],
    ['packed-refs', `${commit} refs/heads/main\n`],
    ...objects,
  ]
  for (const [path, content] of files) tar.entry({ ...fixed, name: `${name}/.git/${path}`, mode: 0o644 }, content)
  tar.finalize()
  return { archive: gzipSync(await buffer(tar)), commit }
}

/** Invented identities and secrets of the instances, encrypted as in nix-secrets. */
async function makeSecrets(registry: Registry) {
  const { Encrypter, generateX25519Identity, identityToRecipient } = await import('age-encryption')
  const keys = new Map<string, { body: Buffer; recipient: string; fingerprint: string }>()
  for (const { id } of registry) {
    const identity = await generateX25519Identity()
    const recipient = await identityToRecipient(identity)
    const fingerprint = sha256(Buffer.from(recipient)).slice(0, FINGERPRINT_DIGITS)
    keys.set(id, { body: Buffer.from(`${identity}\n`), recipient, fingerprint })
  }
  const owners = ownersOf(registry)
  const secrets = new Map<string, Buffer>()
  for (const name of [...SHARED_SECRET_NAMES, ...owners.keys()]) {
    const encrypter = new Encrypter()
    for (const [id, { recipient }] of keys) if ((owners.get(name) ?? id) === id) encrypter.addRecipient(recipient)
    secrets.set(name, Buffer.from(await encrypter.encrypt(`the sandbox's ${name}`)))
  }
  return { keys, secrets }
}

/** Of each registry: one process may start many sandboxes. */
const made = new Map<string, ReturnType<typeof makeSecrets>>()

function secretsOf(registry: Registry): ReturnType<typeof makeSecrets> {
  const key = JSON.stringify(registry)
  const secrets = made.get(key) ?? makeSecrets(registry)
  made.set(key, secrets)
  return secrets
}

/** A complete bundle for each instance, made by the same functions as an upload. */
export async function putBundles(world: World, bucket: string, registry: Registry, revision: string): Promise<void> {
  const { keys, secrets } = await secretsOf(registry)
  const repository = { name: 'clawdinators', ...(await tinyRepository('clawdinators')) }
  const ids = registry.map(({ id }) => id)
  for (const { entry, secrets: own } of assembleBundles({ registry, ids, available: new Set(secrets.keys()) })
    .assemblies) {
    const identity = keys.get(entry.id)
    if (!identity) continue
    const contents = new Map<string, Buffer>()
    const { body: identityBody, fingerprint: openedBy } = identity
    const wanted = own.map(({ name, file }): WantedObject => {
      const body = secrets.get(name) ?? Buffer.alloc(0)
      contents.set(file, body)
      return { kind: 'secret', name, file, size: body.length, sha256: sha256(body), openedBy }
    })
    const { name, archive, commit } = repository
    contents.set(`repos/${name}.tar.gz`, archive)
    const repo: WantedObject = {
      ...{ kind: 'repo', name, size: archive.length, sha256: sha256(archive) },
      ...{ url: null, branch: 'main', commit },
    }
    const key: WantedObject = {
      ...{ kind: 'identity', name: IDENTITY.name, size: identityBody.length, sha256: sha256(identityBody) },
      fingerprints: [openedBy],
    }
    contents.set(objectFile('identity', IDENTITY.name), identityBody)
    const plan = planBundle(entry, [...wanted, repo, key], { manifest: null, objects: [] })
    for (const { kind, file, key, sha256: digest } of plan.objects) {
      const checksum = Buffer.from(digest, 'hex').toString('base64')
      const body = contents.get(file) ?? Buffer.alloc(0)
      world.putObject(bucket, `${entry.bootstrapPrefix}/${key}`, body, {
        checksums: [['sha256', checksum]],
        ...(kind === 'identity' ? { sse: { algorithm: 'aws:kms', kmsKeyId: world.defaultKmsKey } } : {}),
      })
    }
    world.putObject(
      bucket,
      manifestKey(entry),
      manifestText(plan, { revision, by: 'clawctl sandbox', at: world.now() }),
    )
  }
}
