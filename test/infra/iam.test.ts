// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the stacks' expressions hold ${ }
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { ROOT } from '../support/plane.js'
import {
  ACCOUNT,
  isAllowed,
  type Policies,
  type Policy,
  type PolicyStatement,
  REGION,
  renderPolicy,
} from '../support/policies.js'
import { readStack, type Stack, statementsOf } from '../support/stacks.js'
import { ALLOWED, DENIED, ROLES, type Row, type Who } from './iamRequests.js'

/** The rows of docs/security.md for each policy. */
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
    it(`${stack} ${document}: grants exactly the calls of docs/security.md`, () => {
      const documented = rows
        .filter(([who = '']) => pattern.test(who))
        .flatMap(([, calls = '']) => calls.match(ACTION) ?? [])
      const granted = [...new Set(statementsOf(stacks[stack], document).flatMap(({ actions }) => actions))]
      // A row may contain `kms:ReEncrypt*`; the policy names both actions.
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

  it("names every action; wildcards are only in the key policy, the bucket's denial and VM Import's policy", () => {
    const wild = everyPolicy().flatMap(({ document, statements }) =>
      statements.flatMap(({ actions }) =>
        actions.filter((action) => action.includes('*')).map((a) => `${document} ${a}`),
      ),
    )
    expect(wild).to.deep.equal([
      'access_log S3:*',
      'bucket S3:*',
      'key kms:*',
      'key kms:GenerateDataKey*',
      'key kms:ReEncrypt*',
      'vmimport ec2:Describe*',
    ])
  })

  it('has a comment for every resource "*"', () => {
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

  it(`uses "*" only for calls without resources, and in VM Import's documented policy`, () => {
    const open = everyPolicy()
      .filter(({ document }) => !['key', 'vmimport'].includes(document))
      .flatMap(({ statements }) => statements.filter(({ resources }) => resources.includes('*')))
    const calls = open.flatMap(({ actions }) => actions)
    expect(calls).not.to.deep.equal([])
    for (const call of calls) expect(call).to.match(/^(?:ec2|cloudwatch|logs):Describe|^(?:kms|logs|cloudwatch):List/)
  })

  it("creates hosts' roles below their path with the boundary, and other roles elsewhere", () => {
    expect(stacks.platform.locals.get('host_roles')).to.match(/:role\/clawdinator\/\*$/)
    const own = [...stacks.platform.resources].filter(([key]) => key.startsWith('aws_iam_role.'))
    for (const [key, body] of own) expect(body.path ?? '/', key).not.to.match(/^\/clawdinator\//)
    const hosts = stacks.fleet.resources.get('aws_iam_role.clawdinator')
    expect(hosts).to.include({ path: '/clawdinator/', permissions_boundary: '${var.permissions_boundary_arn}' })
  })

  it('grants no write to read-only roles', () => {
    for (const document of ['fleet_drift', 'platform_plan']) {
      for (const action of statementsOf(stacks.platform, document).flatMap(({ actions }) => actions)) {
        expect(action, document).to.match(/:(?:Get|List|Describe)|^kms:Decrypt$/)
      }
    }
  })

  it('refuses a prefix outside the readable ones', () => {
    const [{ precondition }] = stacks.fleet.resources.get('aws_iam_role.clawdinator')?.lifecycle ?? [{}]
    expect(precondition?.[0].condition).to.equal('${startswith(each.value.bootstrapPrefix, "bootstrap/")}')
  })
})

describe('IAM decisions by requests', () => {
  type Known = Policies & { identity: Policy }
  const policies = new Map<Who, Known>()
  before(async () => {
    const bucket = await renderPolicy('platform', 'bucket')
    const key = await renderPolicy('platform', 'key')
    const memory = await renderPolicy('platform', 'memory')
    const boundary = await renderPolicy('platform', 'host_boundary')
    for (const [who, { stack, document }] of Object.entries(ROLES) as [Who, (typeof ROLES)[Who]][]) {
      const identity = await renderPolicy(stack, document)
      policies.set(who, { identity, bucket, key, memory, ...(who === 'host' ? { boundary } : {}) })
    }
  })
  /** With a policy given, the decision of that policy alone: the boundary must not hide that it is too wide. */
  const decide = ([who, action, resource, context]: Row, loose?: Policy) => {
    const known = policies.get(who) as Known
    const asked = { role: ROLES[who].role, action, resource, context }
    return isAllowed(asked, loose ? { ...known, identity: loose, boundary: undefined } : known)
  }
  const said = ([who, action, resource, context]: Row) =>
    `${who} ${action} ${resource} ${JSON.stringify(context ?? {})}`

  for (const who of Object.keys(ROLES) as Who[]) {
    it(`${who}: allows every needed request, and denies all others`, async () => {
      const wrong: string[] = []
      for (const [rows, expected] of [
        [ALLOWED, true],
        [DENIED, false],
      ] as const) {
        for (const row of rows.filter(([asking]) => asking === who)) {
          if ((await decide(row)) !== expected) wrong.push(`${expected ? 'denied' : 'allowed'}: ${said(row)}`)
        }
      }
      expect(wrong).to.deep.equal([])
    })

    it(`${who}: every resource and condition of the policy is tested by a request`, async () => {
      const { identity } = policies.get(who) as Known
      const unheld: string[] = []
      for (const { what, actions, policy } of loosened(identity)) {
        const rows = DENIED.filter(([asking, action]) => asking === who && actions.includes(action))
        let held = false
        for (const row of rows) held ||= await decide(row, policy)
        if (!held) unheld.push(what)
      }
      expect(unheld).to.deep.equal([])
    })
  }

  it('memory: accepts mounts only over TLS through a mount target, without IAM', async () => {
    const { bucket, key, memory } = policies.get('host') as Known
    const reached = { 'elasticfilesystem:AccessedViaMountTarget': 'true' }
    const resource = `arn:aws:elasticfilesystem:${REGION}:${ACCOUNT}:file-system/fs-0123456789abcdef0`
    const ask = (action: string, context: Record<string, string>) =>
      isAllowed({ role: null, action, resource, context }, { identity: null, bucket, key, memory })
    for (const name of ['ClientMount', 'ClientWrite', 'ClientRootAccess']) {
      const action = `elasticfilesystem:${name}`
      expect(await ask(action, reached), action).to.equal(true)
      expect(await ask(action, { ...reached, 'aws:SecureTransport': 'false' }), action).to.equal(false)
      expect(await ask(action, {}), action).to.equal(false)
    }
    expect(await ask('elasticfilesystem:DeleteFileSystem', {})).to.equal(false)
  })

  it("keeps every role's policy below IAM's limit of 10,240 characters, and the boundary below 6,144", async () => {
    for (const [who, { identity }] of policies) expect(JSON.stringify(identity).length, who).to.be.below(10_240)
    expect(JSON.stringify(policies.get('host')?.boundary).length).to.be.below(6144)
  })

  /** The policy without one of its conditions, or with one of its resources widened to "*". */
  function* loosened(policy: Policy): Generator<{ what: string; actions: string[]; policy: Policy }> {
    const changed = (at: number, change: (statement: PolicyStatement) => PolicyStatement): Policy => ({
      ...policy,
      Statement: policy.Statement.map((statement, index) => (index === at ? change(statement) : statement)),
    })
    for (const [at, { Sid, Action, Resource, Condition }] of policy.Statement.entries()) {
      for (const resource of Resource.filter((one) => one !== '*')) {
        const widened = Resource.map((one) => (one === resource ? '*' : one))
        yield {
          what: `${Sid}: ${resource}`,
          actions: Action,
          policy: changed(at, (s) => ({ ...s, Resource: widened })),
        }
      }
      for (const [test, variables] of Object.entries(Condition ?? {})) {
        for (const variable of Object.keys(variables)) {
          const { [variable]: _, ...others } = variables
          yield {
            what: `${Sid}: ${test} ${variable}`,
            actions: Action,
            policy: changed(at, (s) => ({ ...s, Condition: { ...s.Condition, [test]: others } })),
          }
        }
      }
    }
  }
})
