import * as z from 'zod/mini'
import { deploySchema } from './deploy.js'
import { hostFailureSchema, hostStageSchema, reachedStageSchema } from './stage.js'

const timeOrNull = z.nullish(z.string())
/** If a host of another version writes a part in another form, that part counts as unknown; the rest is still read. */
const tolerant = <T extends z.ZodMiniType>(schema: T) => z.catch(z.nullish(schema), null)

/**
 * `heartbeats/<id>/<EC2 instance id>.json`, one per machine: written each minute, and immediately when its stage or failure
 * changes. Times are ISO 8601 in UTC. Values that a host could not find out are null or absent.
 */
export const heartbeatSchema = z.object({
  schema: z.literal(2),
  id: z.string(),
  instanceId: z.string(),
  amiId: z.string(),
  at: z.string(),
  /** The deploy that launched the machine. */
  requestId: z.nullish(z.string()),
  /** Commit of the running configuration. */
  revision: z.nullish(z.string()),
  /** Commit that the image was built from. */
  imageRevision: z.nullish(z.string()),
  stage: hostStageSchema,
  stageSince: timeOrNull,
  stages: z.catch(z.array(reachedStageSchema), []),
  /** What keeps the host in its stage; null if nothing does. `lines`: at most 2 KB, without secrets. */
  failure: tolerant(hostFailureSchema),
  gateway: tolerant(
    z.object({
      /** systemd's ActiveState. With `Restart=always` a unit that crashes immediately often reads `active`: see `restarts`. */
      state: z.string(),
      mainPid: z.nullish(z.number()),
      restarts: z.nullish(z.number()),
      activeSince: timeOrNull,
      /** `connected`: in standby, whether the token was accepted; in active, whether the channel is connected. */
      channels: z.catch(
        z.array(z.object({ name: z.string(), connected: z.nullish(z.boolean()), reason: z.nullish(z.string()) })),
        [],
      ),
      plugins: z.catch(z.array(z.object({ name: z.string(), error: z.string() })), []),
      probedAt: timeOrNull,
    }),
  ),
  bundle: tolerant(z.object({ generation: z.number() })),
  selfUpdate: tolerant(
    z.object({
      at: z.string(),
      outcome: z.enum(['updated', 'kept', 'rolled-back', 'failed', 'skipped']),
      detail: z.nullish(z.string()),
    }),
  ),
})
export type Heartbeat = z.infer<typeof heartbeatSchema>

/**
 * `active/<id>.json`: the active machine of the instance. Only a deploy writes it, conditionally. A host becomes active if
 * the object does not exist, and does not change if it can't read the object.
 */
export const activeMachineSchema = z.object({
  schema: z.literal(1),
  id: z.string(),
  /** All zeros while no machine is active: during a handover, and until the first machine of a new id has passed. */
  instanceId: z.string(),
  /** The machine that becomes active again if the named one is lost. */
  from: z.nullish(z.string()),
  /** Request id of the deploy that named it. */
  deploy: z.nullish(z.string()),
  at: z.string(),
})
export type ActiveMachine = z.infer<typeof activeMachineSchema>

/** Keys and files of a bundle: docs/bundle-format.md. */
const objectPath = z.string().check(z.regex(/^(?:secrets|repos)\/[A-Za-z0-9][A-Za-z0-9._-]*$/))
const objectShape = {
  /** Name in the secrets directory, or of the repository. */
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
    /** Fingerprint of the identity that decrypted it before the upload; left out if untested. */
    openedBy: z.optional(fingerprint),
  }),
  z.object({
    kind: z.literal('identity'),
    ...objectShape,
    /** Fingerprints of the recipients that it decrypts for; left out by older uploads. */
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

/** `bootstrap/<id>/config.json`, written last; without it there is no bundle. */
export const bundleManifestSchema = z.object({
  schema: z.literal(2),
  /** Increases with every manifest that replaces another. */
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

/** Fields that follow from the run or from other fields. */
const NOT_STORED = { waitsFor: true, queuePosition: true, startedAt: true, durationMs: true } as const

/** `deploys/<requestId>.json`: the run's own report of its hosts, updated during the run. */
export const deployRecordSchema = z.extend(z.omit(deploySchema, NOT_STORED), {
  schema: z.literal(1),
  createdAt: z.string(),
})
export type DeployRecord = z.infer<typeof deployRecordSchema>
