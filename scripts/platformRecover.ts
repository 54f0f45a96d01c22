import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DescribeSecurityGroupRulesCommand, DescribeSecurityGroupsCommand, EC2Client } from '@aws-sdk/client-ec2'
import { DescribeFileSystemsCommand, DescribeMountTargetsCommand, EFSClient } from '@aws-sdk/client-efs'
import { DescribeKeyCommand, KMSClient, paginateListKeys } from '@aws-sdk/client-kms'
import { execa } from 'execa'

/**
 * Repairs what a killed apply left, before the next apply. It untaints resources that an interrupt tainted, because
 * most of them must never be destroyed. It imports objects with the stack's names that are not in the state.
 * scripts/platform.sh calls it: node --import tsx scripts/platformRecover.ts TOFU STACK [-var…]
 */

const TAGS = { project: 'clawdinator', stack: 'platform' }
const CONTROL_API = 'clawdinator-control-api'

/** An object that may exist, by its address in the stack. A null id: the object does not exist. */
export interface Candidate {
  address: string
  id: string | null
  /** The address of its parent, without which it can't exist. */
  partOf?: string
}

export interface Lookups {
  /** Number of the account. */
  account: string
  key: string | null
  fileSystem: string | null
  /** Ids of mount targets by subnet. */
  mountTargets: Record<string, string>
  /** Ids of the stack's security groups by name. */
  groups: Record<string, string>
  ingressRule: string | null
}

/** Every resource whose creation AWS refuses if it exists. The creation of all others may be repeated. */
export function candidates(names: { bucket: string; lockTable: string }, found: Lookups): Candidate[] {
  const api = 'aws_lambda_function.control_api'
  const roles = ['bootstrap-upload', 'fleet-deploy', 'fleet-drift', 'image-build']
  const iam = `arn:aws:iam::${found.account}`
  return [
    { address: 'aws_kms_key.bucket', id: found.key },
    { address: 'aws_kms_alias.bucket', id: 'alias/clawdinator', partOf: 'aws_kms_key.bucket' },
    { address: 'aws_s3_bucket.fleet', id: names.bucket },
    { address: 'aws_s3_bucket.access_log', id: `${names.bucket}-access-log` },
    { address: 'aws_dynamodb_table.locks', id: names.lockTable },
    { address: 'aws_efs_file_system.memory', id: found.fileSystem },
    ...Object.entries(found.mountTargets).map(([subnet, id]) => ({
      ...{ address: `aws_efs_mount_target.memory["${subnet}"]`, id, partOf: 'aws_efs_file_system.memory' },
    })),
    { address: 'aws_security_group.memory', id: found.groups['clawdinator-memory'] ?? null },
    { address: 'aws_security_group.memory_client', id: found.groups['clawdinator-memory-client'] ?? null },
    {
      ...{ address: 'aws_vpc_security_group_ingress_rule.memory', id: found.ingressRule },
      partOf: 'aws_security_group.memory',
    },
    {
      address: 'aws_iam_openid_connect_provider.github[0]',
      id: `${iam}:oidc-provider/token.actions.githubusercontent.com`,
    },
    { address: 'aws_iam_policy.host_boundary', id: `${iam}:policy/clawdinator-ci/clawdinator-host-boundary` },
    ...roles.map((role) => ({ address: `aws_iam_role.ci["${role}"]`, id: `clawdinator-${role}` })),
    { address: 'aws_iam_role.platform_plan', id: 'clawdinator-platform-plan' },
    { address: 'aws_iam_role.control_api', id: CONTROL_API },
    { address: 'aws_iam_role.vmimport', id: 'vmimport' },
    { address: 'aws_cloudwatch_log_group.control_api', id: `/aws/lambda/${CONTROL_API}` },
    { address: api, id: CONTROL_API },
    { address: 'aws_lambda_function_url.control_api', id: CONTROL_API, partOf: api },
    { address: 'aws_lambda_permission.control_api_url', id: `${CONTROL_API}/ControlApiUrl`, partOf: api },
    { address: 'aws_lambda_permission.control_api_invoke', id: `${CONTROL_API}/ControlApiInvokedByUrl`, partOf: api },
    { address: 'aws_lambda_permission.watch', id: `${CONTROL_API}/Watch`, partOf: api },
  ]
}

interface State {
  resources?: {
    mode: string
    type: string
    name: string
    instances: { index_key?: string | number; status?: string; attributes?: { tags_all?: Record<string, string> } }[]
  }[]
}
interface Known {
  address: string
  tainted: boolean
  tags: Record<string, string> | null
}

/**
 * The managed resources of a state, as `tofu state pull` prints it: a warning may come before it, and empty output
 * means that there is no state.
 */
export function resourcesOf(pulled: string): Known[] {
  const start = pulled.indexOf('{')
  const { resources = [] }: State = start < 0 ? {} : JSON.parse(pulled.slice(start))
  return resources
    .filter(({ mode }) => mode === 'managed')
    .flatMap(({ type, name, instances }) =>
      instances.map(({ index_key: key, status, attributes }) => ({
        address: `${type}.${name}${key === undefined ? '' : `[${JSON.stringify(key)}]`}`,
        tainted: status === 'tainted',
        tags: attributes?.tags_all ?? null,
      })),
    )
}

/**
 * Whether an imported object belongs to this stack: it has the stack's tags, or its type has no tags. Only a bucket
 * gets its tags by a separate call, and a kill can come before that call. Bucket names are global, so no other account
 * has this one.
 */
export function isOurs({ address, tags }: Known): boolean {
  if (tags === null) return true
  if (address.startsWith('aws_s3_bucket.') && Object.keys(tags).length === 0) return true
  return Object.entries(TAGS).every(([key, value]) => tags[key] === value)
}

/** Whether the stack has a resource for an address. */
async function declaredIn(stack: string): Promise<(address: string) => boolean> {
  const files = (await readdir(stack)).filter((file) => file.endsWith('.tf'))
  const text = (await Promise.all(files.map((file) => readFile(join(stack, file), 'utf8')))).join('\n')
  return (address) => {
    const [type, name] = address.split(/[.[]/)
    return text.includes(`resource "${type}" "${name}"`)
  }
}

async function lookUp(): Promise<Lookups> {
  const region = process.env.TF_VAR_region as string
  // The SDK itself has no time limit.
  const requestHandler = { connectionTimeout: 5000, requestTimeout: 30_000, throwOnRequestTimeout: true }
  const ec2 = new EC2Client({ region, requestHandler })
  const efs = new EFSClient({ region, requestHandler })
  const kms = new KMSClient({ region, requestHandler })
  // A VPC has many groups, so the owner of each is checked.
  const { SecurityGroups = [] } = await ec2.send(new DescribeSecurityGroupsCommand({}))
  const ours = SecurityGroups.filter(({ Tags = [] }) =>
    Tags.some(({ Key, Value }) => Key === 'stack' && Value === TAGS.stack),
  )
  const groups = Object.fromEntries(ours.map(({ GroupName = '', GroupId = '' }) => [GroupName, GroupId]))
  const memory = groups['clawdinator-memory']
  const { SecurityGroupRules = [] } = memory
    ? await ec2.send(new DescribeSecurityGroupRulesCommand({ Filters: [{ Name: 'group-id', Values: [memory] }] }))
    : {}
  const { FileSystems = [] } = await efs.send(new DescribeFileSystemsCommand({ CreationToken: 'clawdinator-memory' }))
  const fileSystem = FileSystems[0]?.FileSystemId ?? null
  const { MountTargets = [] } =
    fileSystem === null ? {} : await efs.send(new DescribeMountTargetsCommand({ FileSystemId: fileSystem }))
  return {
    account: SecurityGroups[0]?.OwnerId ?? '',
    key: await findKey(kms),
    fileSystem,
    mountTargets: Object.fromEntries(MountTargets.map((target) => [target.SubnetId ?? '', target.MountTargetId ?? ''])),
    groups,
    ingressRule: SecurityGroupRules.find(({ IsEgress }) => !IsEgress)?.SecurityGroupRuleId ?? null,
  }
}

/** The key by its alias; a key that was created but got no alias yet, by its description. */
async function findKey(kms: KMSClient): Promise<string | null> {
  const describe = async (id: string) => {
    const { KeyMetadata } = await kms.send(new DescribeKeyCommand({ KeyId: id }))
    return KeyMetadata?.KeyState === 'Enabled' ? KeyMetadata : null
  }
  try {
    const key = await describe('alias/clawdinator')
    if (key) return key.KeyId ?? null
  } catch (error) {
    if ((error as Error).name !== 'NotFoundException') throw error
  }
  for await (const { Keys = [] } of paginateListKeys({ client: kms }, {})) {
    for (const { KeyId = '' } of Keys) {
      const key = await describe(KeyId)
      if (key?.Description === 'Clawdinator: bucket, lock table, memory and log') return KeyId
    }
  }
  return null
}

async function main([tofu = '', stack = '', ...variables]: string[]) {
  const run = (...args: string[]) =>
    execa(tofu, [`-chdir=${stack}`, ...args], { reject: false, stdin: 'ignore', all: true, timeout: 300_000 })
  const print = (line: string) => process.stderr.write(`${line}\n`)
  const must = async (problem: string, ...args: string[]) => {
    const { exitCode, all, stdout } = await run(...args)
    if (exitCode !== 0) throw new Error(`${problem}:\n${all}`)
    return stdout
  }
  const readState = async () => resourcesOf(await must("the state can't be read", 'state', 'pull'))
  let known = await readState()

  const tainted = known.filter((one) => one.tainted).map(({ address }) => address)
  for (const address of tainted) {
    await must(`${address} can't be untainted`, 'untaint', '-no-color', address)
    print(`${address} was being created when an apply ended: it is kept, not replaced.`)
  }
  if (tainted.length > 0) {
    // An interrupted resource may lack attributes, and an import evaluates the whole stack with the values of the
    // state.
    const only = tainted.map((address) => `-target=${address}`)
    const options = ['-refresh-only', '-auto-approve', '-input=false', '-no-color', ...variables, ...only]
    await must(`${tainted.join(', ')} can't be read again`, 'apply', ...options)
    known = await readState()
  }

  const names = {
    bucket: process.env.TF_VAR_bucket as string,
    lockTable: process.env.TF_VAR_lock_table ?? 'clawdinator-tofu-locks',
  }
  const declared = await declaredIn(stack)
  const has = (address: string) => known.some((one) => one.address === address)
  // If nothing is missing, no request is sent to AWS.
  const empty: Lookups = { account: '', key: null, fileSystem: null, mountTargets: {}, groups: {}, ingressRule: null }
  if (candidates(names, empty).every(({ address }) => has(address) || !declared(address))) return
  for (const { address, id, partOf } of candidates(names, await lookUp())) {
    if (id === null || has(address) || !declared(address) || (partOf && !has(partOf))) continue
    const { exitCode, all } = await run('import', '-input=false', '-no-color', ...variables, address, id)
    if (exitCode !== 0) {
      if (!/non-existent|does not exist|not ?found/i.test(all)) print(`${address} is not imported:\n${all}`)
      continue
    }
    known = await readState()
    const imported = known.find((one) => one.address === address)
    if (imported && isOurs(imported)) {
      print(`${address} existed outside of the state and is imported.`)
      continue
    }
    // If it stayed in the state, the next apply would change it.
    await must(`${address} is ${id}, which is not this stack's, and is in the state`, 'state', 'rm', address)
    known = known.filter((one) => one !== imported)
    print(`${address} would be ${id}, which exists and is not this stack's: it is not changed.`)
  }
}

if (process.argv[1]?.endsWith('platformRecover.ts')) {
  main(process.argv.slice(2)).catch((error: Error) => {
    process.stderr.write(`The leftovers of an earlier apply can't be repaired: ${error.message}\n`)
    process.exitCode = 1
  })
}
