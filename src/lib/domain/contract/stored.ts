import * as z from 'zod/mini'
import { deploySchema } from './deploy.js'

/** `heartbeats/<id>.json`, written by a timer on the host. */
export const heartbeatSchema = z.object({
  instanceId: z.string(),
  amiId: z.string(),
  revision: z.nullable(z.string()),
  /** systemd's ActiveState of the gateway. */
  service: z.string(),
  at: z.string(),
})
export type Heartbeat = z.infer<typeof heartbeatSchema>

/** Of a key and of a file of a bundle: docs/bundle-format.md. */
const objectPath = z.string().check(z.regex(/^(?:secrets|repos)\/[A-Za-z0-9][A-Za-z0-9._-]*$/))
const objectShape = {
  /** In the secrets directory, or of the repository. */
  name: z.string(),
  /** On the host, relative to the installed bundle. */
  file: objectPath,
  /** Relative to the prefix. */
  key: objectPath,
  size: z.number().check(z.int(), z.nonnegative()),
  sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
}

/** The first 16 hex digits of the SHA-256 of an age recipient (`age1…`), which is public. */
const fingerprint = z.string().check(z.regex(/^[0-9a-f]{16}$/))

export const bundleObjectSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('secret'),
    ...objectShape,
    /** Fingerprint of the identity that opened it before the upload; left out where that was not tested. */
    openedBy: z.optional(fingerprint),
  }),
  z.object({
    kind: z.literal('identity'),
    ...objectShape,
    /** Of the recipients that it decrypts for; left out by older uploads. */
    fingerprints: z.optional(z.array(fingerprint)),
  }),
  z.object({
    kind: z.literal('repo'),
    ...objectShape,
    url: z.nullable(z.string()),
    branch: z.string(),
    commit: z.string(),
  }),
])
export type BundleObject = z.infer<typeof bundleObjectSchema>

/** `bootstrap/<id>/config.json`, written last: without it there is no bundle. */
export const bundleManifestSchema = z.object({
  schema: z.literal(2),
  /** One more with every manifest that replaces another. */
  generation: z.number().check(z.int(), z.positive()),
  instance: z.object({
    id: z.string(),
    host: z.string(),
    instanceType: z.string(),
    bootstrapPrefix: z.string(),
    discordTokenSecret: z.string(),
  }),
  revision: z.nullable(z.string()),
  createdBy: z.string(),
  createdAt: z.string(),
  objects: z.array(bundleObjectSchema),
})
export type BundleManifest = z.infer<typeof bundleManifestSchema>

/** What follows from the run, or from the rest. */
const NOT_STORED = { waitsFor: true, queuePosition: true, startedAt: true, durationMs: true } as const

/** `deploys/<requestId>.json`: what the run itself says of its hosts, written as it goes. */
export const deployRecordSchema = z.extend(z.omit(deploySchema, NOT_STORED), {
  schema: z.literal(1),
  createdAt: z.string(),
})
export type DeployRecord = z.infer<typeof deployRecordSchema>
