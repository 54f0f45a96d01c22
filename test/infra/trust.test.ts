// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the stacks' expressions hold ${ }
import { expect } from 'chai'
import { BUCKET, isAllowed, KEY_ARN, type Policies, renderPolicy } from '../support/policies.js'
import { readStack, type Stack, statementsOf } from '../support/stacks.js'

describe("the bucket's policy", () => {
  const SSE = 's3:x-amz-server-side-encryption'
  const KEY_ID = `${SSE}-aws-kms-key-id`
  let policies: Policies
  before(async () => {
    policies = {
      identity: await renderPolicy('platform', 'bootstrap_upload'),
      bucket: await renderPolicy('platform', 'bucket'),
      key: await renderPolicy('platform', 'key'),
      memory: await renderPolicy('platform', 'memory'),
    }
  })
  /** Whether the role of bundles may write one with these headers. */
  const mayPut = (context: Record<string, string>) => {
    const role = 'clawdinator-ci/clawdinator-bootstrap-upload'
    const resource = `arn:aws:s3:::${BUCKET}/bootstrap/clawdinator-1/secrets/x.age`
    return isAllowed({ role, action: 's3:PutObject', resource, context }, policies)
  }

  it("allows requests that use the bucket's encryption, or name its key", async () => {
    expect(await mayPut({})).to.equal(true)
    expect(await mayPut({ [SSE]: 'aws:kms', [KEY_ID]: KEY_ARN })).to.equal(true)
  })

  it("denies another key, AWS's own key, other encryption, and plain HTTP", async () => {
    expect(await mayPut({ [SSE]: 'aws:kms', [KEY_ID]: `${KEY_ARN}-other` })).to.equal(false)
    expect(await mayPut({ [SSE]: 'aws:kms' })).to.equal(false)
    expect(await mayPut({ [SSE]: 'AES256' })).to.equal(false)
    expect(await mayPut({ 'aws:SecureTransport': 'false' })).to.equal(false)
  })

  // Such an emulator would deny all of S3 as soon as the platform is applied.
  it('has no effect in emulators that match actions literally and ignore conditions', async () => {
    const platform = await readStack('platform')
    for (const document of ['bucket', 'access_log']) {
      const denials = statementsOf(platform, document).filter(({ effect }) => effect === 'Deny')
      expect(denials).not.to.deep.equal([])
      for (const action of denials.flatMap(({ actions }) => actions)) expect(action).to.match(/^S3:(?:\*|PutObject)$/)
    }
  })

  it('has an access log, in a bucket that accepts it only from that bucket', async () => {
    const { resources } = await readStack('platform')
    const logging = resources.get('aws_s3_bucket_logging.fleet')
    expect(logging).to.include({ target_bucket: '${aws_s3_bucket.access_log.id}' })
    const [delivery] = statementsOf(await readStack('platform'), 'access_log')
    expect(delivery?.principals).to.deep.equal([{ type: 'Service', identifiers: ['logging.s3.amazonaws.com'] }])
    expect(delivery?.conditions.map(({ variable }) => variable)).to.deep.equal(['aws:SourceArn', 'aws:SourceAccount'])
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

  it('of a workflow requires this repository by number, its branch and its file, with both forms of sub', () => {
    expect(conditionsOf('ci_trust')).to.deep.equal({
      aud: 'StringEquals ["sts.amazonaws.com"]',
      sub: 'StringEquals "${flatten([for prefix in local.subject_prefixes : [for end in local.subject_ends : \\"${prefix}:${end}\\"]])}"',
      repository_id: 'StringEquals ["${var.github_repository_id}"]',
      ref: 'StringEquals ["${local.branch_ref}"]',
      job_workflow_ref:
        'StringEquals "${[for workflow in each.value : \\"${var.github_repository}/.github/workflows/${workflow}@${local.branch_ref}\\"]}"',
    })
    expect(platform.locals.get('subject_ends')).to.deep.equal(['ref:${local.branch_ref}', 'environment:fleet'])
    expect(platform.locals.get('subject_prefixes')).to.deep.equal([
      'repo:${var.github_repository}',
      'repo:${local.owner}@${var.github_owner_id}/${local.repository}@${var.github_repository_id}',
    ])
  })

  it("of a pull request's plan requires this repository by number, and that workflow", () => {
    expect(conditionsOf('platform_plan_trust')).to.include({
      repository_id: 'StringEquals ["${var.github_repository_id}"]',
      job_workflow_ref: 'StringLike ["${var.github_repository}/.github/workflows/infra.yml@refs/pull/*/merge"]',
    })
  })

  it('gives each workflow its own role, each with its own policy', () => {
    const roles = platform.locals.get('ci_roles') as Record<string, { workflows: string[]; policy: string }>
    expect(Object.values(roles).map(({ workflows }) => workflows)).to.deep.equal([
      ['bootstrap-upload.yml'],
      ['fleet-deploy.yml', 'fleet-recover.yml'],
      ['fleet-drift.yml'],
      ['image-build.yml'],
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
