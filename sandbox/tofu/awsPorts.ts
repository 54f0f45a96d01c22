import type {
  DeleteObjectCommandInput,
  GetObjectCommandInput,
  GetObjectCommandOutput,
  PutObjectCommandInput,
} from '@aws-sdk/client-s3'
import type { Iam, InstanceProfile, Role } from '../aws/iam.js'
import type { Rule } from '../aws/world.js'

export type { GetObjectCommandOutput, InstanceProfile, Role, Rule }

/** The part of S3 that the backend uses. */
export interface S3 {
  get(input: GetObjectCommandInput): Promise<GetObjectCommandOutput>
  put(input: PutObjectCommandInput): Promise<unknown>
  delete(input: DeleteObjectCommandInput): Promise<unknown>
}

export interface LiveInstance {
  id: string
  state: string
  ami: string
  instanceType: string
  privateIp: string | null
  publicIp: string | null
  zone: string | null
  subnetId: string | null
  securityGroups: string[]
  /** Name of the instance profile. */
  profile: string | null
  metadata: { endpoint: string | null; tokens: string | null; hops: number | null }
  tags: Record<string, string>
}

export interface NewInstance {
  ami: string
  instanceType: string
  userData: string | null
  profile: string | null
  subnetId: string | null
  securityGroups: readonly string[]
  metadata: { endpoint?: string; tokens?: string; hops?: number }
  rootVolume: { encrypted?: boolean; type?: string; size?: number; deleteOnTermination?: boolean } | null
  tags: Readonly<Record<string, string>>
}

export interface LiveGroup {
  id: string
  name: string
  description: string
  vpcId: string
  ingress: Rule[]
  egress: Rule[]
  tags: Record<string, string>
}

/** The part of EC2 that the provider uses. */
export interface Ec2 {
  /** The instances of these ids that EC2 knows and that are not terminated, as in the real provider. */
  describe(ids: readonly string[]): Promise<LiveInstance[]>
  run(instance: NewInstance): Promise<LiveInstance>
  terminate(id: string): Promise<void>
  tag(id: string, tags: Readonly<Record<string, string>>, removed: readonly string[]): Promise<void>
  createGroup(group: Pick<LiveGroup, 'name' | 'description' | 'tags'> & { vpcId: string | null }): Promise<string>
  describeGroup(id: string): Promise<LiveGroup | null>
  authorize(id: string, direction: 'ingress' | 'egress', rules: readonly Rule[]): Promise<void>
  revoke(id: string, direction: 'ingress' | 'egress', rules: readonly Rule[]): Promise<void>
  deleteGroup(id: string): Promise<void>
}

type Answers<T> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => R | Promise<R> : never
}

/** The part of IAM that the provider uses, over HTTP or in this process. */
export type IamPort = Answers<
  Omit<Iam, 'roles' | 'profiles' | 'onMade' | 'mustRole' | 'mustProfile' | 'getRole' | 'getProfile'>
> & {
  getRole(name: string): Promise<Role | null> | Role | null
  getProfile(name: string): Promise<InstanceProfile | null> | InstanceProfile | null
}

export interface Cloud {
  ec2: Ec2
  iam: IamPort
  region: string
}

export function isAwsError(error: unknown, ...names: string[]): boolean {
  return error instanceof Error && names.includes(error.name)
}
