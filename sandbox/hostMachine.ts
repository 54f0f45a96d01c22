import { createHash } from 'node:crypto'
import { MANIFEST_NAME, parseManifest } from '../src/lib/domain/bundles/manifest.js'
import { type Heartbeat, type HostStage, instanceIdSchema } from '../src/lib/domain/contract/index.js'
import type { Instance, World } from './aws/world.js'
import { HostAccess } from './hostAccess.js'

/** The unit that fails in a stage. */
export const UNITS: Partial<Record<HostStage, string>> = {
  bundle: 'clawdinator-bootstrap.service',
  switch: 'clawdinator-switch.service',
  standby: 'clawdinator-gateway-standby.service',
  active: 'clawdinator-gateway.service',
}

/** One machine that boots as a host. */
export interface Machine {
  instance: Instance
  access: HostAccess
  id: string
  bucket: string
  prefix: string
  requestId: string | null
  stages: Heartbeat['stages']
  failure: Heartbeat['failure']
  generation: number | null
  gateway: {
    running: 'no' | 'standby' | 'active'
    pid: number
    restarts: number
    since: string | null
    crashes: boolean
  }
  /** Whether the token is rejected, for the probe and the channel. */
  rejected: boolean
  /** Whether it has read that another machine is active. */
  sawOther: boolean
}

/** The machine's settings from its user data, or null if it is not a host's. */
export function machineOf(world: World, instance: Instance): Machine | null {
  const script = Buffer.from(instance.userData ?? '', 'base64').toString()
  const written = [...script.matchAll(/^write_value ([a-z-]+) '([^'\n]*)'$/gm)]
  const values = new Map(written.map(([, name = '', value = '']) => [name, value]))
  const [id, bucket] = [instanceIdSchema.safeParse(values.get('instance-name')).data, values.get('bucket')]
  const prefix = values.get('bootstrap-prefix')?.replace(/\/+$/, '')
  const whole = ['control-api-url', 'host'].every((name) => values.get(name))
  if (!script.startsWith('#!') || !id || !bucket || !prefix || !whole) return null
  return {
    ...{ instance, id, bucket, prefix, access: new HostAccess(world, instance) },
    requestId: values.get('request-id') || null,
    ...{ stages: [], failure: null, generation: null, rejected: false, sawOther: false },
    gateway: { running: 'no', pid: 0, restarts: 0, since: null, crashes: false },
  }
}

/** The problem of the host's bundle, as the end of a sentence, or null. */
export function readBundle({ access, bucket, prefix }: Machine): { problem: string | null; generation: number | null } {
  const bad = (problem: string) => ({ problem, generation: null })
  const manifest = access.get(bucket, `${prefix}/${MANIFEST_NAME}`)
  if (manifest.status === 403) return bad(manifest.why)
  if (manifest.status === 404) return bad(`there is no ${prefix}/${MANIFEST_NAME}`)
  const bundle = parseManifest(manifest.body.toString())
  if (!bundle) return bad(`${prefix}/${MANIFEST_NAME} does not describe a bundle`)
  for (const { key, size, sha256 } of bundle.objects) {
    const read = access.get(bucket, `${prefix}/${key}`)
    if (read.status === 403) return bad(read.why)
    if (read.status === 404) return bad(`${prefix}/${key} is missing`)
    if (read.body.length !== size) return bad(`${prefix}/${key} has ${read.body.length} bytes instead of ${size}`)
    if (createHash('sha256').update(read.body).digest('hex') !== sha256) {
      return bad(`${prefix}/${key} has another SHA-256`)
    }
  }
  return { problem: null, generation: bundle.generation }
}

/** Hosts run this many times faster than their heartbeats' times: a minute without a restart takes half a second. */
const SPEED = 120

function activeSince(since: string | null, at: string): string | null {
  if (since === null) return null
  const now = Date.parse(at)
  return new Date(now - (now - Date.parse(since)) * SPEED).toISOString()
}

export function heartbeatOf(machine: Machine, revision: string | null, at: string): Heartbeat {
  const { instance, id, gateway, stages, failure, rejected, generation } = machine
  const current = stages.at(-1) ?? { stage: 'booted' as const, at }
  const up = gateway.running !== 'no' && !gateway.crashes
  return {
    ...{ schema: 2, id, instanceId: instance.id, amiId: instance.imageId, at, requestId: machine.requestId },
    ...{ revision, imageRevision: revision },
    ...{ stage: current.stage, stageSince: current.at, stages: [...stages], failure },
    gateway: {
      // A unit that crashes in a loop is `active` in half of the samples.
      state: up ? 'active' : gateway.running === 'no' ? 'inactive' : gateway.pid % 2 ? 'active' : 'activating',
      ...{ mainPid: gateway.pid, restarts: gateway.restarts, activeSince: activeSince(gateway.since, at) },
      channels: [
        {
          name: 'discord',
          connected: up ? !rejected : null,
          reason: rejected ? '401: the token was rejected' : null,
        },
      ],
      ...{ plugins: [], probedAt: up ? at : null },
    },
    bundle: generation === null ? null : { generation },
    selfUpdate: null,
  }
}
