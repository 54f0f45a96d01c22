import type { ValidationException } from '@aws-sdk/client-ebs'
import { CompleteSnapshotCommand, EBSClient, PutSnapshotBlockCommand, StartSnapshotCommand } from '@aws-sdk/client-ebs'
import type { Snapshot as Ec2Snapshot, ImportSnapshotTask } from '@aws-sdk/client-ec2'
import {
  CreateTagsCommand,
  DeleteSnapshotCommand,
  DescribeImportSnapshotTasksCommand,
  DescribeSnapshotsCommand,
  EC2Client,
  ImportSnapshotCommand,
  paginateDescribeImportSnapshotTasks,
  paginateDescribeSnapshots,
} from '@aws-sdk/client-ec2'
import { ClawctlError } from '../../domain/errors.js'
import type { Attempt, ImportTask, Snapshot, Snapshots } from '../../ops/images/ports.js'
import { type AwsSettings, always, awsCall, clientOptions, unlessNamed } from '../aws/errors.js'
import { catchingHandler, requestAsSent } from '../aws/probe.js'
import { attempt } from '../aws/putOutcome.js'
import { createSignedPut, type TransferLimits } from '../aws/signedPut.js'
import { filtersOf, tagListOf, tagSpecification, tagsOf } from '../aws/tags.js'

/** Time limit for 512 KiB: enough on a link of 1 Mbit/s. A peer that hangs is retried on another connection. */
const BLOCK_TIMEOUT_MS = 20_000

const NO_SUCH_SNAPSHOT = /^InvalidSnapshot\.NotFound$/

/** EBS snapshots: written through the EBS direct APIs, or imported from the bucket by VM Import. */
export function createSnapshots(settings: AwsSettings & TransferLimits & { bucket: string }): Snapshots {
  const { region, bucket } = settings
  const ec2 = new EC2Client(clientOptions(settings))
  const ebs = new EBSClient(clientOptions(settings))
  let blockPut: Promise<ReturnType<typeof createSignedPut>> | undefined

  async function openBlockPut() {
    const probe = new EBSClient({ region, requestHandler: catchingHandler, maxAttempts: 1 })
    const sent = await requestAsSent(() =>
      probe.send(
        new PutSnapshotBlockCommand({
          SnapshotId: 'snap-00000000000000000',
          BlockIndex: 0,
          BlockData: new Uint8Array(1),
          DataLength: 1,
          Checksum: 'AA==',
          ChecksumAlgorithm: 'SHA256',
        }),
      ),
    )
    const { connections, stop } = settings
    return createSignedPut(sent, { region, service: 'ebs', credentials: ebs.config.credentials, connections, stop })
  }

  return {
    describe: (id) =>
      awsCall('EC2 DescribeSnapshots', () =>
        unlessNamed(NO_SUCH_SNAPSHOT, null, async () => {
          const { Snapshots } = await ec2.send(new DescribeSnapshotsCommand({ SnapshotIds: [id] }))
          return Snapshots?.[0] ? toSnapshot(Snapshots[0]) : null
        }),
      ),
    find: (tags) =>
      awsCall('EC2 DescribeSnapshots', async () => {
        const found: Snapshot[] = []
        const input = { OwnerIds: ['self'], Filters: filtersOf(tags) }
        for await (const page of paginateDescribeSnapshots({ client: ec2, pageSize: 1000 }, input)) {
          found.push(...always(page.Snapshots).map(toSnapshot))
        }
        return found.sort((a, b) => b.startedAt.getTime() - a.startedAt.getTime())
      }),
    tag: (id, tags) =>
      awsCall('EC2 CreateTags', async () => {
        await ec2.send(new CreateTagsCommand({ Resources: [id], Tags: tagListOf(tags) }))
      }),
    delete: (id) =>
      awsCall('EC2 DeleteSnapshot', async () => {
        await unlessNamed(NO_SUCH_SNAPSHOT, null, () => ec2.send(new DeleteSnapshotCommand({ SnapshotId: id })))
      }),
    start: ({ sizeGib, timeoutMinutes, token, parent, kmsKey, description, tags }) =>
      awsCall('EBS StartSnapshot', async () => {
        const started = await ebs.send(
          new StartSnapshotCommand({
            VolumeSize: sizeGib,
            Timeout: timeoutMinutes,
            ClientToken: token,
            Description: description,
            Tags: tagListOf(tags),
            // A child inherits its parent's encryption: EBS refuses both parameters together.
            ...(parent !== null
              ? { ParentSnapshotId: parent }
              : kmsKey !== null
                ? { Encrypted: true, KmsKeyArn: kmsKey }
                : {}),
          }),
        )
        return {
          id: always(started.SnapshotId),
          encrypted: Boolean(started.KmsKeyArn) || (started.SseType !== undefined && started.SseType !== 'none'),
        }
      }),
    async putBlock({ snapshotId, index, data, sha256 }) {
      blockPut ??= openBlockPut()
      const put = await blockPut
      const digest = Buffer.from(sha256.buffer, sha256.byteOffset, sha256.byteLength)
      const outcome = await attempt(`EBS PutSnapshotBlock ${index}`, () =>
        put({
          path: `/snapshots/${snapshotId}/blocks/${index}`,
          query: '',
          headers: {
            'content-type': 'application/octet-stream',
            'x-amz-data-length': String(data.length),
            'x-amz-checksum': digest.toString('base64'),
            'x-amz-checksum-algorithm': 'SHA256',
          },
          payloadSha256: digest.toString('hex'),
          bytes: data.length,
          body: data,
          timeoutMs: BLOCK_TIMEOUT_MS,
        }),
      ).catch(unknownSnapshot)
      return outcome.ok ? { ok: true, value: null } : outcome
    },
    complete: (id, { blocks, checksum }) =>
      awsCall('EBS CompleteSnapshot', async () => {
        try {
          await ebs.send(
            new CompleteSnapshotCommand({
              SnapshotId: id,
              ChangedBlocksCount: blocks,
              Checksum: Buffer.from(checksum).toString('base64'),
              ChecksumAlgorithm: 'SHA256',
              ChecksumAggregationMethod: 'LINEAR',
            }),
          )
        } catch (error) {
          // No longer pending: completed by an earlier request. The snapshot's state shows the outcome.
          if ((error as ValidationException).Reason !== 'INVALID_SNAPSHOT_ID') throw error
        }
      }),
    importFrom: ({ key, format, token, role, kmsKey, description, tags }) =>
      awsCall('EC2 ImportSnapshot', async () => {
        try {
          const started = await ec2.send(
            new ImportSnapshotCommand({
              ClientToken: token,
              Description: description,
              DiskContainer: {
                Description: description,
                Format: format.toUpperCase(),
                UserBucket: { S3Bucket: bucket, S3Key: key },
              },
              ...(role === null ? {} : { RoleName: role }),
              ...(kmsKey === null ? {} : { Encrypted: true, KmsKeyId: kmsKey }),
              TagSpecifications: tagSpecification('import-snapshot-task', tags),
            }),
          )
          return toTask(started)
        } catch (error) {
          throw missingRole(error, bucket, role) ?? error
        }
      }),
    importTask: (id) =>
      awsCall('EC2 DescribeImportSnapshotTasks', () =>
        unlessNamed(/^InvalidConversionTaskId|NotFound$/, null, async () => {
          const query = new DescribeImportSnapshotTasksCommand({ ImportTaskIds: [id] })
          const { ImportSnapshotTasks } = await ec2.send(query)
          return ImportSnapshotTasks?.[0] ? toTask(ImportSnapshotTasks[0]) : null
        }),
      ),
    importTasks: () =>
      awsCall('EC2 DescribeImportSnapshotTasks', async () => {
        const found: ImportTask[] = []
        for await (const page of paginateDescribeImportSnapshotTasks({ client: ec2 }, {})) {
          found.push(...always(page.ImportSnapshotTasks).map(toTask))
        }
        return found
      }),
  }
}

/** EBS may answer "not found" in the first minutes after StartSnapshot. */
function unknownSnapshot(failure: unknown): Attempt<never> {
  const error = (failure as Error).cause
  if (error instanceof Error && error.name === 'ResourceNotFoundException') return { ok: false, kind: 'unknown', error }
  throw failure
}

function toSnapshot(snapshot: Ec2Snapshot): Snapshot {
  return {
    id: snapshot.SnapshotId ?? '',
    state: snapshot.State ?? 'pending',
    sizeGib: snapshot.VolumeSize ?? 0,
    encrypted: snapshot.Encrypted ?? false,
    kmsKey: snapshot.KmsKeyId ?? null,
    startedAt: snapshot.StartTime ?? new Date(0),
    progress: snapshot.Progress ?? '',
    message: snapshot.StateMessage ?? null,
    tags: tagsOf(snapshot.Tags),
  }
}

function toTask(task: ImportSnapshotTask): ImportTask {
  const detail = task.SnapshotTaskDetail
  const progress = Number.parseFloat(detail?.Progress ?? '')
  const { S3Bucket, S3Key } = detail?.UserBucket ?? {}
  return {
    id: always(task.ImportTaskId),
    status: detail?.Status ?? 'active',
    progress: Number.isFinite(progress) ? progress : null,
    message: detail?.StatusMessage ?? null,
    snapshotId: detail?.SnapshotId ?? null,
    source: S3Bucket && S3Key ? { bucket: S3Bucket, key: S3Key } : null,
    tags: tagsOf(task.Tags),
  }
}

/** EC2 answers InvalidParameter, "The service role vmimport provided does not exist or does not have sufficient permissions". */
function missingRole(error: unknown, bucket: string, role: string | null): ClawctlError | null {
  if (!/service role/i.test((error as Error).message)) return null
  return new ClawctlError(
    'DENIED',
    `EC2 can't use the role ${role ?? 'vmimport'}, which reads the image for VM Import.`,
    {
      hint: `Create it with a trust policy for vmie.amazonaws.com (sts:ExternalId vmimport), and allow it s3:GetBucketLocation, s3:ListBucket on arn:aws:s3:::${bucket}, s3:GetObject on arn:aws:s3:::${bucket}/images/*, and ec2:ModifySnapshotAttribute, ec2:CopySnapshot, ec2:RegisterImage, ec2:Describe* on *. --direct needs no such role.`,
      cause: error,
    },
  )
}
