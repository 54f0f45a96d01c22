import { AwsError } from './aws/error.js'
import { type AccessRequest, allows, trusts } from './aws/policy.js'
import type { Instance, World } from './aws/world.js'

export type Read = { status: 200; body: Buffer } | { status: 404 } | { status: 403; why: string }

/** A machine's access to S3 by the policies of its profile's role; without a role it has none. */
export class HostAccess {
  readonly #world: World
  readonly #instance: Instance

  constructor(world: World, instance: Instance) {
    this.#world = world
    this.#instance = instance
  }

  get(bucket: string, key: string): Read {
    const refused = this.#refusal({ action: 's3:GetObject', resource: `arn:aws:s3:::${bucket}/${key}` })
    if (refused) return { status: 403, why: refused }
    const object = this.#world.buckets.get(bucket)?.get(key)
    if (object) {
      const unreadable = this.#keyRefusal('kms:Decrypt', object.sse.kmsKeyId)
      return unreadable ? { status: 403, why: unreadable } : { status: 200, body: object.body }
    }
    // Without permission to list, S3 does not reveal that the object is missing.
    const list = { action: 's3:ListBucket', resource: `arn:aws:s3:::${bucket}`, context: { 's3:prefix': key } }
    const hidden = this.#refusal(list)
    return hidden ? { status: 403, why: hidden } : { status: 404 }
  }

  /** Null on success, else the reason. */
  put(bucket: string, key: string, body: string): string | null {
    const refused = this.#refusal({ action: 's3:PutObject', resource: `arn:aws:s3:::${bucket}/${key}` })
    if (refused) return refused
    try {
      this.#world.putObject(bucket, key, body, { contentType: 'application/json' })
      return null
    } catch (error) {
      if (error instanceof AwsError) return error.message
      throw error
    }
  }

  #keyRefusal(action: string, key: string | null): string | null {
    // An AWS managed key admits every principal of the account that comes through the service.
    if (key === null || key.includes(':alias/aws/')) return null
    const context = { 'kms:ViaService': `s3.${this.#world.region}.amazonaws.com` }
    return this.#refusal({ action, resource: key, context })
  }

  #refusal(request: AccessRequest): string | null {
    const { iam, securityGroups } = this.#world
    const groups = this.#instance.securityGroups.flatMap((id) => securityGroups.get(id) ?? [])
    const out = groups.flatMap(({ egress }) => egress)
    // Without a group a machine is in the default one, which allows all egress.
    if (groups.length > 0 && !out.some(({ protocol, cidr }) => protocol === '-1' && cidr === '0.0.0.0/0')) {
      return 'its security groups allow no egress'
    }
    if (this.#instance.metadata.endpoint === 'disabled') return 'its metadata service is off, so it has no credentials'
    const profile = this.#instance.profile === null ? null : iam.getProfile(this.#instance.profile)
    const role = profile?.role ? iam.getRole(profile.role) : null
    if (!role) return 'it has no instance profile with a role, so it has no credentials'
    if (!trusts(role.trust, 'ec2.amazonaws.com')) return `EC2 may not assume the role ${role.name}`
    return allows(role.policies.values(), request)
      ? null
      : `the role ${role.name} may not ${request.action} ${request.resource}`
  }
}
