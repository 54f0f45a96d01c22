// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the stacks' expressions hold ${ }
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { ROOT } from '../support/plane.js'
import { readStack, type Stack, type Statement, statementsOf } from '../support/stacks.js'

/** Whose rows of docs/security.md are which policy's. */
const POLICIES: [who: RegExp, stack: 'platform' | 'fleet', document: string][] = [
  [/^Control API/, 'platform', 'control_api'],
  [/^CI, `fleet deploy`/, 'platform', 'fleet_deploy'],
  [/^CI, `fleet drift`/, 'platform', 'fleet_drift'],
  [/^CI, `image /, 'platform', 'image_build'],
  [/^VM Import/, 'platform', 'vmimport'],
  [/^CI, `bootstrap /, 'platform', 'bootstrap_upload'],
  [/^a host/, 'fleet', 'clawdinator'],
]
const ACTION = /`([a-z0-9]+:[A-Z][A-Za-z]+\*?)`/g

/** The rows of the table below a heading. */
function tableBelow(heading: string): string[][] {
  const text = readFileSync(join(ROOT, 'docs/security.md'), 'utf8')
  const section = text.slice(text.indexOf(`\n## ${heading}`) + 1).split(/\n## /)[0] ?? ''
  const rows = section.split('\n').filter((line) => line.startsWith('| '))
  return rows.slice(2).map((row) => row.slice(2, -2).split(' | '))
}

describe('IAM', () => {
  let stacks: { platform: Stack; fleet: Stack }
  const rows = tableBelow('AWS calls')
  before(async () => {
    stacks = { platform: await readStack('platform'), fleet: await readStack('fleet') }
  })

  it('has a policy for every row of the table, and rows for every policy', () => {
    for (const [who = ''] of rows)
      expect(
        POLICIES.filter(([pattern]) => pattern.test(who)),
        who,
      ).to.have.length(1)
    for (const [pattern] of POLICIES)
      expect(
        rows.some(([who = '']) => pattern.test(who)),
        String(pattern),
      ).to.equal(true)
  })

  for (const [pattern, stack, document] of POLICIES) {
    it(`${stack} ${document}: grants the calls of docs/security.md, no more and no less`, () => {
      const documented = rows
        .filter(([who = '']) => pattern.test(who))
        .flatMap(([, calls = '']) => calls.match(ACTION) ?? [])
      const granted = [...new Set(statementsOf(stacks[stack], document).flatMap(({ actions }) => actions))]
      // A row may say `kms:ReEncrypt*`; the policy names what that is.
      const meant = documented.flatMap((quoted) => {
        const action = quoted.replaceAll('`', '')
        if (!action.endsWith('*')) return action
        const named = granted.filter((other) => other.startsWith(action.slice(0, -1)))
        return named.length > 0 ? named : action
      })
      expect(granted.sort()).to.deep.equal([...new Set(meant)].sort())
    })
  }

  const everyPolicy = () =>
    (['platform', 'fleet'] as const).flatMap((name) =>
      [...stacks[name].data.keys()]
        .filter((key) => key.startsWith('aws_iam_policy_document.'))
        .map((key) => key.replace('aws_iam_policy_document.', ''))
        .map((document) => ({ name, document, statements: statementsOf(stacks[name], document) })),
    )

  it('names every action; a wildcard stands only in the key’s own policy, the bucket’s denial and VM Import’s', () => {
    const wild = everyPolicy().flatMap(({ document, statements }) =>
      statements.flatMap(({ actions }) =>
        actions.filter((action) => action.includes('*')).map((a) => `${document} ${a}`),
      ),
    )
    expect(wild).to.deep.equal([
      'bucket S3:*',
      'key kms:*',
      'key kms:GenerateDataKey*',
      'key kms:ReEncrypt*',
      'vmimport ec2:Describe*',
    ])
  })

  it('says why wherever a resource is "*"', () => {
    for (const { files } of Object.values(stacks)) {
      for (const [file, text] of files) {
        const lines = text.split('\n')
        for (const [index, line] of lines.entries()) {
          if (!/^\s*resources\s*=\s*\["\*"\]/.test(line)) continue
          const start = lines.slice(0, index).findLastIndex((above) => /^data /.test(above))
          const reason = lines[index - 1]?.trim().startsWith('#') || lines[start - 1]?.includes('resource "*"')
          expect(reason, `${file}:${index + 1}`).to.equal(true)
        }
      }
    }
  })

  it('gives "*" to calls that know no resource, and to VM Import’s documented policy', () => {
    const open = everyPolicy()
      .filter(({ document }) => !['key', 'vmimport'].includes(document))
      .flatMap(({ statements }) => statements.filter(({ resources }) => resources.includes('*')))
    const calls = open.flatMap(({ actions }) => actions)
    expect(calls).not.to.deep.equal([])
    for (const call of calls) expect(call).to.match(/^(?:ec2|cloudwatch|logs):Describe|^(?:kms|logs|cloudwatch):List/)
  })

  const only = (document: string, action: string): Statement[] =>
    statementsOf(stacks.platform, document).filter(({ actions }) => actions.includes(action))

  it('passes hosts’ roles to EC2 alone, and makes them with the boundary and below their path', () => {
    for (const statement of only('fleet_deploy', 'iam:PassRole')) {
      expect(statement.resources).to.deep.equal(['${local.host_roles}'])
      expect(statement.conditions).to.deep.equal([
        { test: 'StringEquals', variable: 'iam:PassedToService', values: ['ec2.amazonaws.com'] },
      ])
    }
    for (const action of ['iam:CreateRole', 'iam:PutRolePolicy', 'iam:PutRolePermissionsBoundary']) {
      for (const statement of only('fleet_deploy', action)) {
        expect(statement.resources, action).to.deep.equal(['${local.host_roles}'])
        expect(statement.conditions[0], action).to.deep.include({ variable: 'iam:PermissionsBoundary' })
      }
    }
    expect(stacks.platform.locals.get('host_roles')).to.match(/:role\/clawdinator\/\*$/)
    const own = [...stacks.platform.resources].filter(([key]) => key.startsWith('aws_iam_role.'))
    for (const [key, body] of own) expect(body.path ?? '/', key).not.to.match(/^\/clawdinator\//)
    const hosts = stacks.fleet.resources.get('aws_iam_role.clawdinator')
    expect(hosts).to.include({ path: '/clawdinator/', permissions_boundary: '${var.permissions_boundary_arn}' })
  })

  it('lets the deploy role end machines of the fleet alone, and write nothing but its state and records', () => {
    for (const { conditions } of only('fleet_deploy', 'ec2:TerminateInstances')) {
      expect(conditions).to.deep.equal([
        { test: 'StringEquals', variable: 'aws:ResourceTag/app', values: ['clawdinator'] },
      ])
    }
    const written = only('fleet_deploy', 's3:PutObject').flatMap(({ resources }) => resources)
    expect(written).to.deep.equal([
      '${aws_s3_bucket.fleet.arn}/deploys/*',
      '${aws_s3_bucket.fleet.arn}/${local.fleet_state}',
      '${aws_s3_bucket.fleet.arn}/${local.fleet_state}.tflock',
    ])
  })

  it('gives what only looks nothing to write with', () => {
    for (const document of ['fleet_drift', 'platform_plan']) {
      for (const action of statementsOf(stacks.platform, document).flatMap(({ actions }) => actions)) {
        expect(action, document).to.match(/:(?:Get|List|Describe)|^kms:Decrypt$/)
      }
    }
    const readable = only('platform_plan', 's3:GetObject').flatMap(({ resources }) => resources)
    expect(readable).to.deep.equal(['${aws_s3_bucket.fleet.arn}/state/platform.tfstate'])
  })

  it('refuses a prefix that nobody may read', () => {
    const readers = ['fleet_read', 'bootstrap_upload', 'host_boundary'].flatMap((document) =>
      only(document, 's3:GetObject').flatMap(({ resources }) => resources),
    )
    expect(readers.filter((r) => r.endsWith('/bootstrap/*'))).to.have.length(3)
    const [{ precondition }] = stacks.fleet.resources.get('aws_iam_role.clawdinator')?.lifecycle ?? [{}]
    expect(precondition?.[0].condition).to.equal('${startswith(each.value.bootstrapPrefix, "bootstrap/")}')
  })

  it('limits hosts to less than their boundary', () => {
    const boundary = statementsOf(stacks.platform, 'host_boundary').flatMap(({ actions }) => actions)
    for (const { actions } of statementsOf(stacks.fleet, 'clawdinator')) expect(boundary).to.include.members(actions)
    const resources = statementsOf(stacks.fleet, 'clawdinator').flatMap((statement) => statement.resources)
    expect(resources).to.deep.equal([
      'arn:${data.aws_partition.this.partition}:s3:::${var.bucket}/${each.value.bootstrapPrefix}/*',
      'arn:${data.aws_partition.this.partition}:s3:::${var.bucket}/active/${each.key}.json',
      'arn:${data.aws_partition.this.partition}:s3:::${var.bucket}',
      'arn:${data.aws_partition.this.partition}:s3:::${var.bucket}/heartbeats/${each.key}/*',
      '${statement.value}',
    ])
  })
})

describe('the bucket’s policy', () => {
  const KEY = '${aws_kms_key.bucket.arn}'
  const SSE = 's3:x-amz-server-side-encryption'
  const KEY_ID = `${SSE}-aws-kms-key-id`
  let denials: Statement[]
  before(async () => {
    denials = statementsOf(await readStack('platform'), 'bucket')
  })

  /** As IAM has it: a missing key fulfils a negated comparison and everything `IfExists`. */
  const holds = ({ test: name, variable, values }: Statement['conditions'][number], facts: Record<string, string>) => {
    const given = facts[variable]
    const [wanted] = values as string[]
    if (name === 'Null') return (given === undefined) === (wanted === 'true')
    if (given === undefined) return /IfExists$|Not/.test(name)
    return /^(?:Bool|StringEquals)/.test(name) ? given === wanted : given !== wanted
  }
  const deniedBy = (headers: Record<string, string>, secure = 'true') =>
    denials
      .filter(({ conditions }) => conditions.every((c) => holds(c, { 'aws:SecureTransport': secure, ...headers })))
      .map(({ sid }) => sid)

  it('lets pass who leaves the encryption to the bucket, or names its key', () => {
    expect(deniedBy({})).to.deep.equal([])
    expect(deniedBy({ [SSE]: 'aws:kms', [KEY_ID]: KEY })).to.deep.equal([])
  })

  it('denies another key, AWS’s own, none of KMS, and plain HTTP', () => {
    expect(deniedBy({ [SSE]: 'aws:kms', [KEY_ID]: 'arn:aws:kms:eu-central-1:1:key/other' })).to.deep.equal([
      'NoOtherKey',
    ])
    expect(deniedBy({ [SSE]: 'aws:kms' })).to.deep.equal(['NoOtherKey'])
    expect(deniedBy({ [SSE]: 'AES256' })).to.deep.equal(['NoWeakerEncryption'])
    expect(deniedBy({}, 'false')).to.deep.equal(['TlsOnly'])
  })

  // Such an emulator would deny all of S3 as soon as the platform is applied.
  it('is passed over by emulators that match actions literally and look at no condition', () => {
    for (const { actions, effect } of denials) {
      expect(effect).to.equal('Deny')
      for (const action of actions) expect(action).to.match(/^S3:(?:\*|PutObject)$/)
    }
  })
})

describe('trust', () => {
  let platform: Stack
  before(async () => {
    platform = await readStack('platform')
  })
  const conditionsOf = (document: string) =>
    Object.fromEntries(
      statementsOf(platform, document)[0]?.conditions.map(({ test, variable, values }) => [
        variable.replace('${local.oidc_host}:', ''),
        `${test} ${JSON.stringify(values)}`,
      ]) ?? [],
    )

  it('of a workflow asks for this repository by number, its branch and its file, and takes both forms of sub', () => {
    expect(conditionsOf('ci_trust')).to.deep.equal({
      aud: 'StringEquals ["sts.amazonaws.com"]',
      sub: 'StringEquals "${[for prefix in local.subject_prefixes : \\"${prefix}:ref:${local.branch_ref}\\"]}"',
      repository_id: 'StringEquals ["${var.github_repository_id}"]',
      ref: 'StringEquals ["${local.branch_ref}"]',
      job_workflow_ref: 'StringEquals ["${var.github_repository}/.github/workflows/${each.value}@${local.branch_ref}"]',
    })
    expect(platform.locals.get('subject_prefixes')).to.deep.equal([
      'repo:${var.github_repository}',
      'repo:${local.owner}@${var.github_owner_id}/${local.repository}@${var.github_repository_id}',
    ])
  })

  it('of a pull request’s plan asks for this repository by number, and for that workflow', () => {
    expect(conditionsOf('platform_plan_trust')).to.include({
      repository_id: 'StringEquals ["${var.github_repository_id}"]',
      job_workflow_ref: 'StringLike ["${var.github_repository}/.github/workflows/infra.yml@refs/pull/*/merge"]',
    })
  })

  it('is given to workflows of their own, each with its own policy', () => {
    const roles = platform.locals.get('ci_roles') as Record<string, { workflow: string; policy: string }>
    expect(Object.values(roles).map(({ workflow }) => workflow)).to.deep.equal([
      'bootstrap-upload.yml',
      'fleet-deploy.yml',
      'fleet-drift.yml',
      'image-build.yml',
    ])
    expect(new Set(Object.values(roles).map(({ policy }) => policy)).size).to.equal(4)
  })

  it('of VM Import is the documented one', () => {
    const [statement] = statementsOf(platform, 'vmimport_trust')
    expect(statement?.principals).to.deep.equal([{ type: 'Service', identifiers: ['vmie.amazonaws.com'] }])
    expect(statement?.conditions).to.deep.equal([
      { test: 'StringEquals', variable: 'sts:Externalid', values: ['vmimport'] },
    ])
    expect(platform.resources.get('aws_iam_role.vmimport')?.name).to.equal('vmimport')
  })
})
