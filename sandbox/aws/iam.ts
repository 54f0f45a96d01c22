import { AwsError } from './error.js'
import { checkPolicy } from './policy.js'

export interface Role {
  name: string
  path: string
  arn: string
  uniqueId: string
  createdAt: Date
  /** The trust policy. */
  trust: string
  boundary: string | null
  description: string | null
  tags: Map<string, string>
  /** Inline policies, by name. */
  policies: Map<string, string>
}

export interface InstanceProfile {
  name: string
  path: string
  arn: string
  uniqueId: string
  createdAt: Date
  role: string | null
  tags: Map<string, string>
}

export type IamEvent = 'role' | 'policy' | 'profile'

export type TagRecord = Readonly<Record<string, string>>

/** Roles with their inline policies, and instance profiles. Refuses with AwsError, in IAM's codes. */
export class Iam {
  readonly roles = new Map<string, Role>()
  readonly profiles = new Map<string, InstanceProfile>()
  readonly #accountId: string
  readonly #now: () => Date
  readonly #listeners = new Set<(event: IamEvent) => void>()
  #made = 0

  constructor(options: { accountId: string; now: () => Date }) {
    this.#accountId = options.accountId
    this.#now = options.now
  }

  createRole(role: {
    name: string
    path: string
    trust: string
    boundary: string | null
    description: string | null
    tags: TagRecord
  }): Role {
    checkName('roleName', role.name, 64)
    checkPolicy(role.trust, 'trust')
    if (this.roles.has(role.name)) throw exists('Role', role.name)
    const created: Role = {
      ...role,
      arn: this.#arn('role', role.path, role.name),
      uniqueId: this.#uniqueId('AROA'),
      createdAt: this.#now(),
      tags: new Map(Object.entries(role.tags)),
      policies: new Map(),
    }
    this.roles.set(role.name, created)
    this.#report('role')
    return created
  }

  getRole(name: string): Role | null {
    return this.roles.get(name) ?? null
  }

  updateTrust(name: string, document: string): void {
    checkPolicy(document, 'trust')
    this.mustRole(name).trust = document
  }

  setBoundary(name: string, arn: string | null): void {
    this.mustRole(name).boundary = arn
  }

  tagRole(name: string, tags: TagRecord, removed: readonly string[]): void {
    retag(this.mustRole(name).tags, tags, removed)
  }

  deleteRole(name: string): void {
    const role = this.mustRole(name)
    const held =
      role.policies.size > 0
        ? 'must delete policies first'
        : [...this.profiles.values()].some((profile) => profile.role === name)
          ? 'must remove roles from instance profile first'
          : null
    if (held) throw new AwsError('DeleteConflict', 409, `Cannot delete entity, ${held}.`)
    this.roles.delete(name)
  }

  putRolePolicy(role: string, name: string, document: string): void {
    checkName('policyName', name, 128)
    checkPolicy(document, 'permissions')
    this.mustRole(role).policies.set(name, document)
    this.#report('policy')
  }

  getRolePolicy(role: string, name: string): string | null {
    return this.roles.get(role)?.policies.get(name) ?? null
  }

  deleteRolePolicy(role: string, name: string): void {
    if (!this.mustRole(role).policies.delete(name)) {
      throw new AwsError('NoSuchEntity', 404, `The role policy with name ${name} cannot be found.`)
    }
  }

  createProfile(profile: { name: string; path: string; tags: TagRecord }): InstanceProfile {
    checkName('instanceProfileName', profile.name, 128)
    if (this.profiles.has(profile.name)) throw exists('Instance Profile', profile.name)
    const created: InstanceProfile = {
      ...profile,
      arn: this.#arn('instance-profile', profile.path, profile.name),
      uniqueId: this.#uniqueId('AIPA'),
      createdAt: this.#now(),
      role: null,
      tags: new Map(Object.entries(profile.tags)),
    }
    this.profiles.set(profile.name, created)
    this.#report('profile')
    return created
  }

  getProfile(name: string): InstanceProfile | null {
    return this.profiles.get(name) ?? null
  }

  addRole(profileName: string, role: string): void {
    const profile = this.mustProfile(profileName)
    this.mustRole(role)
    if (profile.role !== null) {
      throw new AwsError('LimitExceeded', 409, 'Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1')
    }
    profile.role = role
  }

  removeRole(profileName: string, role: string): void {
    const profile = this.mustProfile(profileName)
    if (profile.role !== role) throw noSuch('Role', role)
    profile.role = null
  }

  tagProfile(name: string, tags: TagRecord, removed: readonly string[]): void {
    retag(this.mustProfile(name).tags, tags, removed)
  }

  deleteProfile(name: string): void {
    if (this.mustProfile(name).role !== null) {
      throw new AwsError('DeleteConflict', 409, 'Cannot delete entity, must remove roles from instance profile first.')
    }
    this.profiles.delete(name)
  }

  /** @throws AwsError NoSuchEntity */
  mustRole(name: string): Role {
    const role = this.roles.get(name)
    if (!role) throw noSuch('role', name)
    return role
  }

  /** @throws AwsError NoSuchEntity */
  mustProfile(name: string): InstanceProfile {
    const profile = this.profiles.get(name)
    if (!profile) throw noSuch('Instance Profile', name)
    return profile
  }

  /** Called with every new object; the result unregisters. */
  onMade(listener: (event: IamEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #report(event: IamEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  #arn(kind: string, path: string, name: string): string {
    return `arn:aws:iam::${this.#accountId}:${kind}${path}${name}`
  }

  #uniqueId(prefix: string): string {
    this.#made += 1
    return `${prefix}SANDBOX${String(this.#made).padStart(10, '0')}`
  }
}

function retag(all: Map<string, string>, tags: TagRecord, removed: readonly string[]): void {
  for (const key of removed) all.delete(key)
  for (const [key, value] of Object.entries(tags)) all.set(key, value)
}

function checkName(parameter: string, name: string, most: number): void {
  if (name.length <= most && /^[\w+=,.@-]+$/.test(name)) return
  throw new AwsError(
    'ValidationError',
    400,
    `The specified value for ${parameter} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-`,
  )
}

function exists(kind: string, name: string): AwsError {
  return new AwsError('EntityAlreadyExists', 409, `${kind} with name ${name} already exists.`)
}

function noSuch(kind: string, name: string): AwsError {
  return new AwsError('NoSuchEntity', 404, `The ${kind} with name ${name} cannot be found.`)
}
