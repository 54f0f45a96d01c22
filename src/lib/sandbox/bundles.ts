import { createHash, randomBytes } from 'node:crypto'
import { MARKER_NAME } from '../domain/bundle.js'
import type { BundleMarker } from '../domain/contract.js'
import type { RegistryEntry } from '../domain/registry.js'
import type { World } from './aws/world.js'

const SHARED_SECRETS = ['anthropic-api-key', 'openai-api-key', 'github-app-key', 'clawdinator-control-token']

/** Bytes in the form of an age file that nobody can decrypt: the sandbox holds no secret. */
function ageLookalike(): Buffer {
  const b64 = (bytes: number) => randomBytes(bytes).toString('base64').replace(/=+$/, '')
  const header = `age-encryption.org/v1\n-> X25519 ${b64(32)}\n${b64(32)}\n--- ${b64(32)}\n`
  return Buffer.concat([Buffer.from(header), randomBytes(16 + 64 + 16)])
}

/** A whole bundle for one instance: the shared secrets, its own Discord token and no other, a repository seed, the marker last. */
export function putBundle(world: World, bucket: string, entry: RegistryEntry, revision: string): void {
  const contents = new Map<string, Buffer>(
    [...SHARED_SECRETS, entry.discordTokenSecret].map((name) => [`secrets/${name}.age`, ageLookalike()]),
  )
  contents.set('repos/clawdinators.tar.zst', randomBytes(2048))
  for (const [key, body] of contents) world.putObject(bucket, `${entry.bootstrapPrefix}/${key}`, body)
  const { id, host, instanceType, bootstrapPrefix, discordTokenSecret } = entry
  const marker: BundleMarker = {
    schema: 1,
    instance: { id, host, instanceType, bootstrapPrefix, discordTokenSecret },
    revision,
    createdBy: 'clawctl sandbox',
    createdAt: world.now().toISOString(),
    objects: [...contents].map(([key, body]) => ({
      key,
      size: body.length,
      sha256: createHash('sha256').update(body).digest('hex'),
    })),
  }
  world.putObject(bucket, `${entry.bootstrapPrefix}/${MARKER_NAME}`, JSON.stringify(marker, null, 2))
}
