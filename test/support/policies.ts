import { runSimulation } from '@cloud-copilot/iam-simulate'
import { readStack, type Statement, statementsOf } from './stacks.js'

/** The account that the rendered policies are of. Nothing of it exists. */
export const ACCOUNT = '111122223333'
/** Another account, of `ami_owners`. */
export const AMI_OWNER = '444455556666'
export const REGION = 'eu-central-1'
export const BUCKET = 'claw-fleet'
export const KEY_ARN = `arn:aws:kms:${REGION}:${ACCOUNT}:key/11111111-2222-3333-4444-555555555555`
export const TABLE_ARN = `arn:aws:dynamodb:${REGION}:${ACCOUNT}:table/clawdinator-tofu-locks`
export const BOUNDARY_ARN = `arn:aws:iam::${ACCOUNT}:policy/clawdinator-ci/clawdinator-host-boundary`
export const VPC = 'vpc-0123456789abcdef0'

/** What the stacks' references are in that account, for the host clawdinator-1. */
const VALUES: Record<string, string | string[]> = {
  'aws_cloudwatch_event_rule.watch.arn': `arn:aws:events:${REGION}:${ACCOUNT}:rule/clawdinator-watch`,
  'aws_dynamodb_table.locks.arn': TABLE_ARN,
  'aws_efs_file_system.memory.arn': `arn:aws:elasticfilesystem:${REGION}:${ACCOUNT}:file-system/fs-0123456789abcdef0`,
  'aws_iam_policy.host_boundary.arn': BOUNDARY_ARN,
  'aws_iam_role.control_api.arn': `arn:aws:iam::${ACCOUNT}:role/clawdinator-control-api`,
  'aws_iam_role.vmimport.arn': `arn:aws:iam::${ACCOUNT}:role/vmimport`,
  'aws_kms_key.bucket.arn': KEY_ARN,
  'aws_lambda_function.control_api.arn': `arn:aws:lambda:${REGION}:${ACCOUNT}:function:clawdinator-control-api`,
  'aws_s3_bucket.access_log.arn': `arn:aws:s3:::${BUCKET}-access-log`,
  'aws_s3_bucket.fleet.arn': `arn:aws:s3:::${BUCKET}`,
  'aws_sns_topic.alarms.arn': `arn:aws:sns:${REGION}:${ACCOUNT}:clawdinator-alarms`,
  'data.aws_partition.this.partition': 'aws',
  'data.aws_vpc.fleet.id': VPC,
  'each.key': 'clawdinator-1',
  'each.value.bootstrapPrefix': 'bootstrap/clawdinator-1',
  'local.account_id': ACCOUNT,
  'local.ami_owners': [ACCOUNT, AMI_OWNER],
  'local.control_api_log_group': '/aws/lambda/clawdinator-control-api',
  'local.control_api_secrets_key': 'control-api/secrets.json',
  'local.ec2': `arn:aws:ec2:${REGION}:${ACCOUNT}`,
  'local.fleet_state': 'state/fleet.tfstate',
  'local.fleet_state_locks': [`${BUCKET}/state/fleet.tfstate`, `${BUCKET}/state/fleet.tfstate-md5`],
  'local.host_profiles': `arn:aws:iam::${ACCOUNT}:instance-profile/clawdinator/*`,
  'local.host_roles': `arn:aws:iam::${ACCOUNT}:role/clawdinator/*`,
  'local.oidc_provider_arn': `arn:aws:iam::${ACCOUNT}:oidc-provider/token.actions.githubusercontent.com`,
  'local.partition': 'aws',
  'statement.value': KEY_ARN,
  'var.bucket': BUCKET,
  'var.region': REGION,
}

export interface PolicyStatement {
  Sid: string
  Effect: 'Allow' | 'Deny'
  Action: string[]
  Resource: string[]
  Principal?: unknown
  Condition?: Record<string, Record<string, string[]>>
}
export interface Policy {
  Version: '2012-10-17'
  Statement: PolicyStatement[]
}

/** A policy document of a stack as IAM gets it. Throws where it refers to something that has no value here. */
export async function renderPolicy(stack: 'platform' | 'fleet', document: string): Promise<Policy> {
  const statements = statementsOf(await readStack(stack), document)
  return { Version: '2012-10-17', Statement: statements.map(render) }
}

function render({ sid, effect, actions, resources, principals, conditions }: Statement): PolicyStatement {
  const Condition: Record<string, Record<string, string[]>> = {}
  for (const { test, variable, values } of conditions) {
    const resolved = [values].flat().flatMap((value) => resolve(String(value)))
    Condition[test] = { ...Condition[test], [variable]: resolved }
  }
  const rendered: PolicyStatement = { Sid: sid, Effect: effect, Action: actions, Resource: resources.flatMap(resolve) }
  const [principal] = principals
  if (principal)
    rendered.Principal =
      principal.type === '*'
        ? '*'
        : { [principal.type]: [principal.identifiers].flat().flatMap((one) => resolve(String(one))) }
  if (conditions.length > 0) rendered.Condition = Condition
  return rendered
}

function resolve(text: string): string[] {
  const whole = VALUES[/^\$\{([\w.]+)\}$/.exec(text)?.[1] ?? '']
  if (whole !== undefined) return [whole].flat()
  return [
    text.replace(/\$\{([^}]+)\}/g, (_, reference: string) => {
      const value = VALUES[reference.trim()]
      if (typeof value !== 'string') throw new Error(`test/support/policies.ts has no value for ${reference}`)
      return value
    }),
  ]
}

export interface Request {
  /** Name and path of the role that asks; null for nobody that IAM knows, as an NFS client is. */
  role: string | null
  action: string
  resource: string
  context?: Record<string, string | string[]>
}
export interface Policies {
  /** Null for nobody. */
  identity: Policy | null
  boundary?: Policy | undefined
  /** The policies of what the requests are about. */
  bucket: Policy
  key: Policy
  memory: Policy
}

/**
 * Whether IAM would allow the request over TLS, by a simulator that is not ours.
 * @throws Error where the simulator refuses the question, or a context key does not exist for the action: a row that
 * asks about nothing must not pass.
 */
export async function isAllowed(
  { role, action, resource, context = {} }: Request,
  policies: Policies,
): Promise<boolean> {
  const answer = await runSimulation(
    {
      request: {
        principal: role === null ? { type: 'Anonymous' } : `arn:aws:iam::${ACCOUNT}:role/${role}`,
        action,
        resource: { resource, accountId: ACCOUNT },
        contextVariables: {
          'aws:SecureTransport': 'true',
          ...(role === null ? {} : { 'aws:PrincipalAccount': ACCOUNT }),
          'aws:RequestedRegion': REGION,
          ...context,
        },
      },
      identityPolicies: policies.identity ? [{ name: 'identity', policy: policies.identity }] : [],
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy: { s3: policies.bucket, kms: policies.key, elasticfilesystem: policies.memory }[
        action.split(':')[0] ?? ''
      ],
      permissionBoundaryPolicies: policies.boundary ? [{ name: 'boundary', policy: policies.boundary }] : undefined,
    },
    {},
  )
  if (answer.resultType === 'error') throw new Error(`${action}: ${JSON.stringify(answer.errors)}`)
  if (answer.resultType !== 'single') throw new Error(`${action} ${resource}: ask about one resource`)
  const ignored = answer.result.ignoredContextKeys?.filter((key) => key in context) ?? []
  if (ignored.length > 0) throw new Error(`${action} on ${resource} knows no ${ignored.join(', ')}`)
  return answer.overallResult === 'Allowed'
}
