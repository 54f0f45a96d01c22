import type {
  DeleteObjectCommandInput,
  GetObjectCommandInput,
  GetObjectCommandOutput,
  PutObjectCommandInput,
} from '@aws-sdk/client-s3'

export type { GetObjectCommandOutput }

/** What the backend needs of S3. */
export interface S3 {
  get(input: GetObjectCommandInput): Promise<GetObjectCommandOutput>
  put(input: PutObjectCommandInput): Promise<unknown>
  delete(input: DeleteObjectCommandInput): Promise<unknown>
}

export interface LiveInstance {
  id: string
  state: string
  privateIp: string | null
  publicIp: string | null
  zone: string | null
}

export interface NewInstance {
  ami: string
  instanceType: string
  userData: string | null
  tags: Readonly<Record<string, string>>
}

/** What the provider needs of EC2. */
export interface Ec2 {
  /** Those of the ids that EC2 knows and that are not terminated: the real provider counts as gone only what has ended. */
  describe(ids: readonly string[]): Promise<LiveInstance[]>
  run(instance: NewInstance): Promise<LiveInstance>
  terminate(id: string): Promise<void>
}

export function isAwsError(error: unknown, ...names: string[]): boolean {
  return error instanceof Error && names.includes(error.name)
}
