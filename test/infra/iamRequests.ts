import { ACCOUNT, AMI_OWNER, BOUNDARY_ARN, BUCKET, KEY_ARN, REGION, TABLE_ARN, VPC } from '../support/policies.js'

/** The principal: the role with its path, its document, and its boundary. */
export const ROLES = {
  deploy: { role: 'clawdinator-ci/clawdinator-fleet-deploy', stack: 'platform', document: 'fleet_deploy' },
  drift: { role: 'clawdinator-ci/clawdinator-fleet-drift', stack: 'platform', document: 'fleet_drift' },
  image: { role: 'clawdinator-ci/clawdinator-image-build', stack: 'platform', document: 'image_build' },
  upload: { role: 'clawdinator-ci/clawdinator-bootstrap-upload', stack: 'platform', document: 'bootstrap_upload' },
  plan: { role: 'clawdinator-ci/clawdinator-platform-plan', stack: 'platform', document: 'platform_plan' },
  api: { role: 'clawdinator-control-api', stack: 'platform', document: 'control_api' },
  host: { role: 'clawdinator/clawdinator-1', stack: 'fleet', document: 'clawdinator' },
  vmimport: { role: 'vmimport', stack: 'platform', document: 'vmimport' },
} as const
export type Who = keyof typeof ROLES
type Context = Record<string, string | string[]>
export type Row = [who: Who, action: string, resource: string, context?: Context]

/** One object of every kind in the bucket, and objects of other instances with similar names. */
const OBJECTS = {
  secret: 'bootstrap/clawdinator-1/secrets/age-identity.1.fd61a03af4f77d87.key',
  manifest: 'bootstrap/clawdinator-1/config.json',
  neighbourSecret: 'bootstrap/clawdinator-10/secrets/x.age',
  neighbourManifest: 'bootstrap/clawdinator-10/config.json',
  heartbeat: 'heartbeats/clawdinator-1/i-0123456789abcdef0.json',
  neighbourHeartbeat: 'heartbeats/clawdinator-10/i-0123456789abcdef0.json',
  active: 'active/clawdinator-1.json',
  neighbourActive: 'active/clawdinator-10.json',
  record: 'deploys/request-1.json',
  claim: 'claims/request-1',
  people: 'control/people/people.json',
  freeze: 'control/freeze.json',
  cancellation: 'control/cancel/request-1.json',
  apiSecrets: 'control-api/secrets.json',
  image: 'images/clawdinator.raw',
  state: 'state/fleet.tfstate',
  lock: 'state/fleet.tfstate.tflock',
  errored: 'state/fleet.tfstate.errored',
  platformState: 'state/platform.tfstate',
  other: 'elsewhere/x',
} as const
type Kind = keyof typeof OBJECTS

const bundles = ['secret', 'manifest', 'neighbourSecret', 'neighbourManifest'] as const
const heartbeats = ['heartbeat', 'neighbourHeartbeat'] as const
const holders = ['active', 'neighbourActive'] as const
const stops = ['freeze', 'cancellation'] as const

/** Which objects a role may read, write and delete. Every other kind is denied. */
const ACCESS: Record<Who, Partial<Record<'GetObject' | 'PutObject' | 'DeleteObject', readonly Kind[]>>> = {
  deploy: {
    GetObject: [...bundles, ...heartbeats, ...holders, ...stops, 'record', 'state', 'lock', 'errored'],
    PutObject: [...holders, 'record', 'state', 'lock', 'errored'],
    DeleteObject: [...heartbeats, ...holders, 'lock', 'errored'],
  },
  drift: { GetObject: ['record', 'state', ...holders] },
  image: { GetObject: ['image', 'record', 'state'], PutObject: ['image'], DeleteObject: ['image'] },
  upload: { GetObject: bundles, PutObject: bundles, DeleteObject: bundles },
  plan: { GetObject: ['platformState'] },
  api: {
    GetObject: [
      'manifest',
      'neighbourManifest',
      ...heartbeats,
      ...holders,
      ...stops,
      'record',
      'claim',
      'people',
      'apiSecrets',
    ],
    PutObject: ['claim', 'people', ...stops],
  },
  host: { GetObject: ['secret', 'manifest', 'active'], PutObject: ['heartbeat'] },
  vmimport: { GetObject: ['image'] },
}

const bucket = `arn:aws:s3:::${BUCKET}`
const ec2 = (type: string, id = 'new-0123456789abcdef0') => `arn:aws:ec2:${REGION}:${ACCOUNT}:${type}/${id}`
const image = `arn:aws:ec2:${REGION}::image/ami-0123456789abcdef0`
const snapshot = `arn:aws:ec2:${REGION}::snapshot/snap-0123456789abcdef0`
const instance = ec2('instance', 'i-0123456789abcdef0')
const task = ec2('import-snapshot-task', 'import-snap-0123456789abcdef0')
const group = ec2('security-group', 'sg-0123456789abcdef0')
const subnet = ec2('subnet', 'subnet-0123456789abcdef0')
const iam = (rest: string) => `arn:aws:iam::${ACCOUNT}:${rest}`
const host = iam('role/clawdinator/clawdinator-3')
const profile = iam('instance-profile/clawdinator/clawdinator-3')
const owner = { 'ec2:Owner': ACCOUNT }
const tagged = (app: string): Context => ({ 'aws:ResourceTag/app': app })
const via = (...services: string[]): Context[] =>
  services.map((service) => ({ 'kms:ViaService': `${service}.${REGION}.amazonaws.com` }))
const bounded = { 'iam:PermissionsBoundary': BOUNDARY_ARN }
const each = (who: Who, actions: string, resource: string, ...contexts: (Context | undefined)[]): Row[] =>
  actions
    .split(' ')
    .flatMap((action) => (contexts.length ? contexts : [undefined]).map((c): Row => [who, action, resource, c]))

const objects = (allowed: boolean): Row[] =>
  (Object.keys(ACCESS) as Who[]).flatMap((who) =>
    (['GetObject', 'PutObject', 'DeleteObject'] as const).flatMap((action) =>
      (Object.entries(OBJECTS) as [Kind, string][])
        .filter(([kind]) => (ACCESS[who][action] ?? []).includes(kind) === allowed)
        .map(([, key]): Row => [who, `s3:${action}`, `${bucket}/${key}`]),
    ),
  )

const CIPHERS = 'kms:Decrypt kms:DescribeKey kms:GenerateDataKeyWithoutPlaintext kms:ReEncryptFrom kms:ReEncryptTo'
const RULES =
  'ec2:AuthorizeSecurityGroupEgress ec2:CreateTags ec2:DeleteSecurityGroup ec2:DeleteTags ec2:RevokeSecurityGroupEgress ec2:RevokeSecurityGroupIngress'
const FENCE = 'ec2:GetConsoleOutput ec2:StartInstances ec2:StopInstances ec2:TerminateInstances'
const launch = { 'aws:RequestTag/app': 'clawdinator', 'ec2:MetadataHttpTokens': 'required' }
const smoke = { 'aws:RequestTag/app': 'clawdinator-smoke', 'ec2:MetadataHttpTokens': 'required' }
const keys = (...names: string[]): Context => ({ 'aws:TagKeys': names })
const created = (action: string): Context => ({ 'ec2:CreateAction': action })
const imported = { 'ec2:ParentVolume': ec2('volume', 'vol-ffffffff') }
const grant = { 'kms:GrantIsForAWSResource': 'true' }
const locked = (key: string) => ({ 'dynamodb:LeadingKeys': [`${BUCKET}/${key}`] })
const PLANNED: [actions: string, own: string, foreign: string][] = [
  ['s3:GetBucketPolicy s3:ListBucket', bucket, 'arn:aws:s3:::other'],
  ['s3:GetBucketPolicy s3:ListBucket', `${bucket}-access-log`, 'arn:aws:s3:::other'],
  ['dynamodb:DescribeTable', TABLE_ARN, TABLE_ARN.replace('clawdinator', 'other')],
  [
    'elasticfilesystem:DescribeFileSystemPolicy elasticfilesystem:DescribeMountTargets',
    `arn:aws:elasticfilesystem:${REGION}:${ACCOUNT}:file-system/fs-0123456789abcdef0`,
    `arn:aws:elasticfilesystem:${REGION}:${ACCOUNT}:file-system/fs-0aaaaaaaaaaaaaaaa`,
  ],
  [
    'lambda:GetFunction',
    `arn:aws:lambda:${REGION}:${ACCOUNT}:function:clawdinator-control-api`,
    `arn:aws:lambda:${REGION}:${ACCOUNT}:function:other`,
  ],
  [
    'sns:GetTopicAttributes',
    `arn:aws:sns:${REGION}:${ACCOUNT}:clawdinator-alarms`,
    `arn:aws:sns:${REGION}:${ACCOUNT}:other`,
  ],
  [
    'cloudwatch:GetDashboard',
    `arn:aws:cloudwatch::${ACCOUNT}:dashboard/clawdinator`,
    `arn:aws:cloudwatch::${ACCOUNT}:dashboard/other`,
  ],
  [
    'events:DescribeRule',
    `arn:aws:events:${REGION}:${ACCOUNT}:rule/clawdinator-watch`,
    `arn:aws:events:${REGION}:${ACCOUNT}:rule/other`,
  ],
  ['iam:GetRole', iam('role/clawdinator-control-api'), iam('role/admin')],
  ['iam:GetRole', iam('role/vmimport'), iam('role/admin')],
  ['iam:GetRole', iam('role/clawdinator-ci/clawdinator-fleet-deploy'), iam('role/admin')],
  ['iam:GetPolicy', BOUNDARY_ARN, iam('policy/other')],
  [
    'iam:GetOpenIDConnectProvider',
    iam('oidc-provider/token.actions.githubusercontent.com'),
    iam('oidc-provider/example.com'),
  ],
]

export const ALLOWED: Row[] = [
  ...objects(true),
  ...each('deploy', 's3:ListBucket', bucket),
  ...each('deploy', 'kms:Decrypt kms:GenerateDataKey', KEY_ARN, ...via('s3', 'dynamodb')),
  ...each('deploy', 'dynamodb:DeleteItem dynamodb:GetItem dynamodb:PutItem', TABLE_ARN, locked('state/fleet.tfstate')),
  ...each('deploy', 'dynamodb:GetItem', TABLE_ARN, locked('state/fleet.tfstate-md5')),
  ...each('deploy', 'dynamodb:DescribeTable', TABLE_ARN),
  ...each('deploy', 'ec2:RunInstances', ec2('instance'), launch),
  ...each('deploy', 'ec2:RunInstances', subnet, { 'ec2:Vpc': ec2('vpc', VPC) }),
  ...each('deploy', 'ec2:RunInstances', group, { 'ec2:Vpc': ec2('vpc', VPC) }),
  ...each('deploy', 'ec2:RunInstances', ec2('network-interface'), { 'ec2:Vpc': ec2('vpc', VPC) }),
  ...each('deploy', 'ec2:RunInstances', ec2('volume'), { 'ec2:Encrypted': 'true' }),
  ...each('deploy', 'ec2:RunInstances', image, owner, { 'ec2:Owner': AMI_OWNER }),
  ...each('deploy', 'ec2:RunInstances', snapshot, owner, { 'ec2:Owner': AMI_OWNER }),
  ...each('deploy', CIPHERS, KEY_ARN, ...via('ec2')),
  ...each('deploy', 'kms:CreateGrant', KEY_ARN, { ...grant, ...via('ec2')[0] }),
  ...each('deploy', 'ec2:CreateTags', instance, created('RunInstances')),
  ...each('deploy', 'ec2:CreateTags', ec2('volume'), created('RunInstances')),
  ...each('deploy', 'ec2:CreateTags', group, created('CreateSecurityGroup')),
  ...each('deploy', 'ec2:CreateTags', image, { ...owner, ...keys('clawdinator:failed') }),
  ...each('deploy', FENCE, instance, tagged('clawdinator')),
  ...each('deploy', 'ec2:CreateSecurityGroup', ec2('security-group'), { 'aws:RequestTag/app': 'clawdinator' }),
  ...each('deploy', 'ec2:CreateSecurityGroup', ec2('vpc', VPC)),
  ...each('deploy', RULES, group, tagged('clawdinator')),
  ...each('deploy', 'iam:CreateRole iam:PutRolePermissionsBoundary iam:PutRolePolicy', host, bounded),
  ...each('deploy', 'iam:DeleteRole iam:DeleteRolePolicy iam:TagRole iam:UpdateAssumeRolePolicy', host),
  ...each('deploy', 'iam:CreateInstanceProfile iam:DeleteInstanceProfile iam:TagInstanceProfile', profile),
  ...each('deploy', 'iam:AddRoleToInstanceProfile iam:RemoveRoleFromInstanceProfile', profile),
  ...each('deploy', 'iam:PassRole', host, { 'iam:PassedToService': 'ec2.amazonaws.com' }),
  // To adopt the leftovers of a killed deploy.
  ...each('deploy', 'iam:GetRole iam:GetRolePolicy iam:ListRolePolicies', host),
  ...each('deploy', 'iam:GetInstanceProfile', profile),
  ...each('drift', 'kms:Decrypt', KEY_ARN, ...via('s3', 'dynamodb')),
  ...each('drift', 'dynamodb:GetItem', TABLE_ARN, locked('state/fleet.tfstate-md5')),
  ...each('drift', 'dynamodb:DescribeTable', TABLE_ARN),
  ...each('drift', 'ec2:DescribeInstances', '*'),
  ...each('drift', 'iam:GetRole', host),
  ...each('drift', 'iam:GetInstanceProfile', profile),
  ...each('drift', 's3:ListBucket', bucket),
  ...each('image', 's3:AbortMultipartUpload s3:ListMultipartUploadParts', `${bucket}/images/x.raw`),
  ...each('image', 's3:ListBucket s3:ListBucketMultipartUploads', bucket),
  ...each('image', 'kms:Decrypt kms:GenerateDataKey', KEY_ARN, ...via('s3')),
  ...each('image', CIPHERS, KEY_ARN, ...via('ec2', 'ebs')),
  ...each('image', 'kms:CreateGrant', KEY_ARN, ...via('ec2', 'ebs').map((service) => ({ ...grant, ...service }))),
  ...each('image', 'ebs:StartSnapshot ebs:PutSnapshotBlock ebs:CompleteSnapshot', snapshot),
  ...each('image', 'ec2:ImportSnapshot', task),
  ...each('image', 'ec2:RegisterImage', image),
  ...each('image', 'ec2:RegisterImage', snapshot),
  ...each('image', 'ec2:CreateTags', task, created('ImportSnapshot')),
  ...each('image', 'ec2:CreateTags', image, created('RegisterImage')),
  ...each('image', 'ec2:CreateTags', snapshot, created('StartSnapshot')),
  ...each('image', 'ec2:CreateTags', instance, created('RunInstances')),
  ...each('image', 'ec2:CreateTags', ec2('volume'), created('RunInstances')),
  ...each('image', 'ec2:CreateTags', group, created('CreateSecurityGroup')),
  ...each('image', 'ec2:CreateTags', image, tagged('clawdinator')),
  ...each('image', 'ec2:CreateTags', snapshot, tagged('clawdinator'), imported),
  ...each('image', 'ec2:DeleteSnapshot', snapshot, tagged('clawdinator'), { 'aws:ResourceTag/clawctl:writes': 'x' }),
  ...each('image', 'ec2:DeregisterImage', image, tagged('clawdinator')),
  ...each('image', 'ec2:RunInstances', ec2('instance'), smoke),
  ...each('image', 'ec2:RunInstances', image),
  ...each('image', 'ec2:RunInstances', snapshot),
  ...each('image', 'ec2:RunInstances', subnet),
  ...each('image', 'ec2:RunInstances', group, tagged('clawdinator-smoke')),
  ...each('image', 'ec2:RunInstances', ec2('volume')),
  ...each('image', 'ec2:RunInstances', ec2('network-interface')),
  ...each('image', 'ec2:GetConsoleOutput ec2:TerminateInstances', instance, tagged('clawdinator-smoke')),
  ...each('image', 'ec2:DeleteSecurityGroup ec2:RevokeSecurityGroupEgress', group, tagged('clawdinator-smoke')),
  ...each('image', 'ec2:CreateSecurityGroup', ec2('security-group'), { 'aws:RequestTag/app': 'clawdinator-smoke' }),
  ...each('image', 'ec2:CreateSecurityGroup', ec2('vpc', VPC)),
  ...each('upload', 's3:AbortMultipartUpload', `${bucket}/bootstrap/clawdinator-1/x`),
  ...each('upload', 's3:ListBucket', bucket),
  ...each('upload', 'kms:Decrypt kms:GenerateDataKey', KEY_ARN, ...via('s3')),
  ...each('plan', 'kms:Decrypt', KEY_ARN, ...via('s3')),
  ...each('plan', 'kms:GetKeyPolicy', KEY_ARN),
  ...PLANNED.flatMap(([actions, own]) => each('plan', actions, own)),
  ...each('api', 'ec2:DescribeInstances', '*'),
  ...each('api', 'ec2:GetConsoleOutput', instance, tagged('clawdinator')),
  ...each('api', 's3:ListBucket', bucket),
  ...each('api', 'kms:Decrypt kms:GenerateDataKey', KEY_ARN, ...via('s3')),
  ...each(
    'api',
    'logs:CreateLogStream logs:PutLogEvents',
    `arn:aws:logs:${REGION}:${ACCOUNT}:log-group:/aws/lambda/clawdinator-control-api:log-stream:x`,
  ),
  ...each('host', 'kms:Decrypt kms:GenerateDataKey', KEY_ARN, ...via('s3')),
  ...each('host', 's3:ListBucket', bucket, { 's3:prefix': 'bootstrap/clawdinator-1/' }),
  ...each('host', 's3:ListBucket', bucket, { 's3:prefix': 'active/clawdinator-1.json' }),
  ...each('vmimport', 's3:GetBucketLocation s3:ListBucket', bucket),
  ...each('vmimport', 'kms:Decrypt', KEY_ARN),
]

export const DENIED: Row[] = [
  ...objects(false),
  // A request that is allowed here is denied in any other region.
  ...ALLOWED.filter(([, action, resource]) => /^(?:ec2|ebs):/.test(action) && resource !== '*').map(
    ([who, action, resource, context]): Row => [who, action, resource.replace(REGION, 'us-east-1'), context],
  ),
  ...(Object.keys(ROLES) as Who[])
    .filter((who) => who !== 'vmimport')
    .flatMap((who) => each(who, 'kms:Decrypt', KEY_ARN, undefined, ...via('ssm'))),
  ...(['deploy', 'image', 'upload', 'api', 'host'] as const).flatMap((who) =>
    each(who, 'kms:GenerateDataKey', KEY_ARN, undefined, ...via('ssm')),
  ),
  ...(Object.keys(ROLES) as Who[]).flatMap((who) => [
    ...each(who, 's3:ListBucket', 'arn:aws:s3:::other'),
    ...each(who, 'kms:Decrypt', KEY_ARN.replace('1111-2222', 'aaaa-aaaa'), ...via('s3', 'ec2')),
    ...each(who, 'kms:GenerateDataKey', KEY_ARN.replace('1111-2222', 'aaaa-aaaa'), ...via('s3', 'dynamodb')),
  ]),
  ...each('deploy', 'dynamodb:DeleteItem dynamodb:GetItem', TABLE_ARN, locked('state/platform.tfstate')),
  ...each('deploy', 'dynamodb:GetItem dynamodb:PutItem', `${TABLE_ARN}-other`, locked('state/fleet.tfstate')),
  ...each('deploy', 'dynamodb:DescribeTable', `${TABLE_ARN}-other`),
  ...each('deploy', 'ec2:RunInstances', ec2('instance'), { ...launch, 'ec2:MetadataHttpTokens': 'optional' }),
  ...each('deploy', 'ec2:RunInstances', ec2('instance'), { ...launch, 'aws:RequestTag/app': 'clawdinator-smoke' }),
  ...each('deploy', 'ec2:RunInstances', subnet, { 'ec2:Vpc': ec2('vpc', 'vpc-0aaaaaaaaaaaaaaaa') }),
  ...each('deploy', 'ec2:RunInstances', ec2('volume'), { 'ec2:Encrypted': 'false' }),
  ...each('deploy', 'ec2:RunInstances', image, { 'ec2:Owner': '099720109477' }),
  ...each('deploy', CIPHERS, KEY_ARN, undefined, ...via('ssm')),
  ...each('deploy', CIPHERS, KEY_ARN.replace('1111-2222', 'aaaa-aaaa'), ...via('ec2')),
  ...each('deploy', 'ec2:CreateTags', image, keys('clawdinator:failed'), owner, { ...owner, ...keys('clawdinator') }),
  ...each('deploy', 'ec2:CreateTags', image, { ...owner, ...keys('clawdinator:failed', 'clawdinator') }),
  ...each('deploy', 'ec2:CreateTags', image, { 'ec2:Owner': AMI_OWNER, ...keys('clawdinator:failed') }),
  ...each('deploy', 'ec2:CreateTags', snapshot, { ...owner, ...keys('clawdinator:failed') }),
  ...each('deploy', 'kms:CreateGrant', KEY_ARN, grant, ...via('ec2')),
  ...each('deploy', 'kms:CreateGrant', KEY_ARN.replace('1111-2222', 'aaaa-aaaa'), { ...grant, ...via('ec2')[0] }),
  // To tag a foreign machine or image as the fleet's, and then terminate or boot it.
  ...each('deploy', 'ec2:CreateTags', instance, undefined, tagged('clawdinator')),
  ...each('deploy', 'ec2:CreateTags', image, undefined, tagged('clawdinator'), created('RegisterImage')),
  ...each('deploy', 'ec2:CreateTags', subnet, created('RunInstances'), tagged('clawdinator')),
  ...each('deploy', FENCE, instance, undefined, tagged('other'), tagged('clawdinator-smoke')),
  ...each('deploy', 'ec2:CreateSecurityGroup', ec2('security-group')),
  ...each('deploy', 'ec2:CreateSecurityGroup', ec2('vpc', 'vpc-0aaaaaaaaaaaaaaaa'), {}),
  ...each('deploy', RULES, group, undefined, tagged('other')),
  ...each('deploy', 'ec2:AuthorizeSecurityGroupIngress', group, tagged('clawdinator')),
  ...each('deploy', 'ec2:ModifyInstanceAttribute', instance, tagged('clawdinator')),
  ...each('deploy', 'iam:CreateRole iam:PutRolePolicy', host, undefined, {
    'iam:PermissionsBoundary': iam('policy/other'),
  }),
  ...each('deploy', 'iam:CreateRole iam:PutRolePolicy', iam('role/clawdinator-ci/clawdinator-fleet-deploy'), bounded),
  ...each('deploy', 'iam:DeleteRolePermissionsBoundary iam:AttachRolePolicy', host, bounded),
  ...each('deploy', 'iam:DeleteRole iam:UpdateAssumeRolePolicy iam:GetRole', iam('role/admin')),
  ...each('deploy', 'iam:CreateInstanceProfile iam:GetInstanceProfile', iam('instance-profile/other')),
  ...each('deploy', 'iam:PassRole', host, undefined, { 'iam:PassedToService': 'lambda.amazonaws.com' }),
  ...each('deploy', 'iam:PassRole', iam('role/admin'), { 'iam:PassedToService': 'ec2.amazonaws.com' }),
  ...each('drift', 'dynamodb:GetItem', TABLE_ARN, locked('state/platform.tfstate')),
  ...each('drift', 'dynamodb:GetItem', `${TABLE_ARN}-other`, locked('state/fleet.tfstate')),
  ...each('drift', 'dynamodb:DescribeTable', `${TABLE_ARN}-other`),
  ...each('drift', 'dynamodb:PutItem', TABLE_ARN, locked('state/fleet.tfstate')),
  ...each('drift', 'ec2:RunInstances', ec2('instance'), launch),
  ...each('drift', FENCE, instance, tagged('clawdinator')),
  ...each('drift', 'iam:GetRole', iam('role/admin')),
  ...each('drift', 'iam:GetInstanceProfile', iam('instance-profile/other')),
  ...each('image', 's3:AbortMultipartUpload s3:ListMultipartUploadParts', `${bucket}/bootstrap/x`),
  ...each('image', 's3:ListBucketMultipartUploads', 'arn:aws:s3:::other'),
  ...each('image', CIPHERS, KEY_ARN, undefined, ...via('ssm')),
  ...each('image', 'kms:ReEncryptTo', KEY_ARN.replace('1111-2222', 'aaaa-aaaa'), ...via('ec2')),
  ...each('image', 'kms:CreateGrant', KEY_ARN, grant, ...via('ec2')),
  ...each('image', 'kms:CreateGrant', KEY_ARN.replace('1111-2222', 'aaaa-aaaa'), { ...grant, ...via('ec2')[0] }),
  // To tag a foreign image or backup as the project's, and then delete it.
  ...each('image', 'ec2:CreateTags', image, undefined, tagged('other'), {
    ...tagged('other'),
    'aws:RequestTag/app': 'clawdinator',
    'aws:TagKeys': ['app'],
  }),
  ...each('image', 'ec2:CreateTags', snapshot, undefined, tagged('other'), {
    'ec2:ParentVolume': ec2('volume', 'vol-0123456789abcdef0'),
  }),
  ...each('image', 'ec2:CreateTags', snapshot, { ...imported, ...tagged('other') }),
  ...each('image', 'ec2:CreateTags', instance, undefined, tagged('clawdinator')),
  ...each('image', 'ec2:CreateTags', subnet, created('RunInstances'), tagged('clawdinator')),
  ...each('image', 'ec2:CreateTags', ec2('volume', 'vol-0123456789abcdef0'), tagged('clawdinator')),
  ...each('image', 'ec2:DeregisterImage', image, undefined, tagged('other')),
  ...each('image', 'ec2:DeleteSnapshot', snapshot, undefined, tagged('other')),
  ...each('image', 'ec2:RunInstances', ec2('instance'), {
    ...smoke,
    'ec2:InstanceProfile': iam('instance-profile/clawdinator/clawdinator-1'),
  }),
  ...each('image', 'ec2:RunInstances', ec2('instance'), { ...smoke, 'ec2:MetadataHttpTokens': 'optional' }),
  ...each('image', 'ec2:RunInstances', ec2('instance'), launch),
  // The group of the memory's clients has no such tag.
  ...each('image', 'ec2:RunInstances', group, undefined, tagged('clawdinator')),
  ...each('image', 'ec2:GetConsoleOutput ec2:TerminateInstances', instance, undefined, tagged('clawdinator')),
  ...each('image', 'ec2:DeleteSecurityGroup', group, undefined, tagged('clawdinator')),
  ...each('image', 'ec2:CreateSecurityGroup', ec2('security-group')),
  ...each('image', 'ec2:CreateSecurityGroup', ec2('vpc', 'vpc-0aaaaaaaaaaaaaaaa')),
  ...each('upload', 's3:AbortMultipartUpload', `${bucket}/images/x`),
  ...each('plan', 'kms:GetKeyPolicy', KEY_ARN.replace('1111-2222', 'aaaa-aaaa')),
  ...PLANNED.flatMap(([actions, , foreign]) => each('plan', actions, foreign)),
  ...each('api', 'ec2:GetConsoleOutput', instance, undefined, tagged('clawdinator-smoke')),
  ...each('api', 'ec2:RunInstances', ec2('instance'), launch),
  ...each('api', 'logs:PutLogEvents', `arn:aws:logs:${REGION}:${ACCOUNT}:log-group:/aws/lambda/other:log-stream:x`),
  ...each('host', 's3:ListBucket', bucket, undefined, { 's3:prefix': 'bootstrap/clawdinator-10/' }),
  ...each('host', 's3:ListBucket', bucket, { 's3:prefix': 'active/' }, { 's3:prefix': 'active/clawdinator-10.json' }),
  ...each('host', 's3:ListBucket', 'arn:aws:s3:::other', { 's3:prefix': 'bootstrap/clawdinator-1/' }),
  ...each('host', 'ec2:DescribeInstances', '*'),
  ...each('vmimport', 's3:GetBucketLocation', 'arn:aws:s3:::other'),
]
