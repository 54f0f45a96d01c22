// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the stacks' expressions hold ${ }
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { unzipSync } from 'fflate'
import { parse } from 'yaml'
import { configurationSchema } from '../../lambda/configuration.js'
import { directSettings, fleetStack, modeOf } from '../../src/lib/adapters/settings.js'
import { SECRET_NAMES } from '../../src/lib/domain/controlSecrets.js'
import { ROOT } from '../support/plane.js'
import { type Body, readStack, referencesIn, type Stack } from '../support/stacks.js'

const STACKS = ['platform', 'fleet'] as const
const installed = ['tofu', 'terraform'].find((program) => !spawnSync(program, ['version']).error)

describe('the stacks', () => {
  let stacks: Record<(typeof STACKS)[number], Stack>
  before(async () => {
    stacks = { platform: await readStack('platform'), fleet: await readStack('fleet') }
  })
  const body = (stack: (typeof STACKS)[number], address: string): Body => {
    const found = stacks[stack].resources.get(address)
    if (!found) throw new Error(`${stack} has no ${address}`)
    return found
  }

  for (const name of STACKS) {
    it(`${name}: refers only to declared names, and uses every declared one`, () => {
      const { resources, data, variables, locals } = stacks[name]
      const declared = new Set([
        ...resources.keys(),
        ...[...data.keys()].map((key) => `data.${key}`),
        ...[...variables.keys()].map((key) => `var.${key}`),
        ...[...locals.keys()].map((key) => `local.${key}`),
      ])
      const mentioned = referencesIn(stacks[name])
      expect(mentioned.filter((reference) => !declared.has(reference))).to.deep.equal([])
      const idle = [...declared].filter((key) => /^(?:var|local|data)\./.test(key) && !mentioned.includes(key))
      expect(idle).to.deep.equal([])
    })

    it(`${name}: requires OpenTofu 1.10 and the same version of the provider`, () => {
      const text = stacks[name].files.get('versions.tf') ?? ''
      expect(text)
        .to.include('required_version = ">= 1.10.0"')
        .and.to.match(/version = "6\.47\.0"/)
      expect(stacks[name].files.get('backend.tf')).to.match(/backend "s3" \{[^}]*use_lockfile = true/)
    })
  }

  it('are formatted as tofu fmt does', function () {
    if (!installed) return this.skip()
    const { stdout } = spawnSync(installed, ['fmt', '-check', '-diff', '-recursive', join(ROOT, 'infra')], {
      encoding: 'utf8',
    })
    expect(stdout).to.equal('')
  })

  it("the fleet's required variables are those that clawctl passes", () => {
    const env = {
      CLAWDINATOR_CONTROL_API_URL: 'https://x',
      FLEET_KMS_KEY_ARN: 'k',
      FLEET_MEMORY_SECURITY_GROUP_ID: 's',
    }
    const { vars } = fleetStack(env, { region: 'r', bucket: 'b' })
    const given = [...Object.keys(vars), 'ami_id', 'instance_ids', 'kept_prefixes']
    const required = [...stacks.fleet.variables].filter(([, variable]) => !('default' in variable)).map(([key]) => key)
    expect(given).to.include.members(required)
    expect([...stacks.fleet.variables.keys()]).to.include.members(given)
  })

  it("a maintainer's shell has the deploy workflow's settings, and uses the Control API by default", async () => {
    const example = readFileSync(join(ROOT, '.env.example'), 'utf8')
    const ownNames = [...example.matchAll(/^([A-Z_a-z]+)=/gm)].map(([, name = '']) => name)
    const given = stacks.platform.locals.get('shell_settings') as Record<string, string>
    const names = [...ownNames, ...Object.keys(given)]
    expect(new Set(names).size, 'a name is given twice').to.equal(names.length)
    const required = [...stacks.platform.variables].filter(([, variable]) => !('default' in variable))
    expect(ownNames).to.include.members(required.map(([name]) => `TF_VAR_${name}`))

    const workflow = parse(readFileSync(join(ROOT, '.github/workflows/fleet-deploy.yml'), 'utf8'))
    const variables = stacks.platform.locals.get('repository_variables') as Body
    const ofWorkflow = Object.entries<string>(workflow.jobs.deploy.env).flatMap(([name, value]) => {
      const variable = /^\$\{\{ vars\.(\w+) \}\}$/.exec(value)?.[1] ?? ''
      return variable in variables ? [[name, `\${local.repository_variables.${variable}}`]] : []
    })
    const { GITHUB_REPOSITORY, ...rest } = given
    expect(rest).to.deep.equal(Object.fromEntries(ofWorkflow))
    expect(GITHUB_REPOSITORY).to.equal('${var.github_repository}')

    const env = Object.fromEntries(names.map((name) => [name, 'https://x.on.aws']))
    expect(modeOf({ ...env, CLAWCTL_HOST_ROOT: '/nowhere' }, undefined)).to.equal('agent')
    expect(fleetStack(env, directSettings(env)).vars).to.include.keys('permissions_boundary_arn', 'control_api_url')
  })

  it('no secret is a variable or an output of the platform', () => {
    const names = [...stacks.platform.variables.keys(), ...stacks.platform.outputs.keys()].join(' ').toUpperCase()
    for (const secret of SECRET_NAMES) expect(names).not.to.include(secret)
  })

  it("the Control API's environment and secrets are exactly the handler's configuration", () => {
    const [environment] = body('platform', 'aws_lambda_function.control_api').environment
    const keys = [...Object.keys(environment.variables), ...SECRET_NAMES]
    // AWS_REGION is Lambda's own.
    const wanted = Object.keys(configurationSchema.shape).filter((key) => key !== 'AWS_REGION')
    expect(keys).to.have.members(wanted)
  })

  it('the Control API has the same settings as in the sandbox', () => {
    const lambda = body('platform', 'aws_lambda_function.control_api')
    expect(lambda).to.include({ runtime: 'nodejs24.x', handler: 'index.handler', timeout: 30 })
    const source = readFileSync(join(ROOT, 'sandbox/functionUrl.ts'), 'utf8')
    expect(source).to.include('TIMEOUT_MS = 30_000')
    const concurrency = stacks.platform.variables.get('control_api_concurrency')?.default
    expect(source).to.include(`RESERVED_CONCURRENCY = ${concurrency}\n`)
    expect(stacks.platform.locals.get('control_api_zip')).to.include('${path.module}/../../../../dist/lambda.zip')
  })

  it('its URL is public by two permissions, whose ids the provider does not use', () => {
    const permissions = ['control_api_url', 'control_api_invoke'].map((key) =>
      body('platform', `aws_lambda_permission.${key}`),
    )
    expect(permissions.map(({ action, principal }) => `${action} ${principal}`)).to.deep.equal([
      'lambda:InvokeFunctionUrl *',
      'lambda:InvokeFunction *',
    ])
    expect(permissions[0]).to.include({ function_url_auth_type: 'NONE' })
    expect(permissions[1]).to.include({ invoked_via_function_url: true })
    for (const { statement_id } of permissions) expect(statement_id).not.to.match(/^FunctionURLAllow/)
  })

  it('the bucket expires replaced versions, images and claims, and never current objects', () => {
    const { rule } = body('platform', 'aws_s3_bucket_lifecycle_configuration.fleet')
    const prefixes = (kept: (rule: Body) => boolean) => rule.filter(kept).map((r: Body) => r.filter[0].prefix)
    expect(prefixes((r) => 'expiration' in r)).to.deep.equal(['images/', 'claims/'])
    expect(prefixes((r) => 'noncurrent_version_expiration' in r)).to.include.members(['state/', 'bootstrap/'])
    for (const r of rule) expect(r.filter[0].prefix).to.match(/^[a-z-]+\/$/)
  })

  it('the bucket is versioned, encrypted with its key, not public, and only reachable over TLS', () => {
    const block = body('platform', 'aws_s3_bucket_public_access_block.fleet')
    const { bucket: _, ...switches } = block
    expect(Object.values(switches)).to.deep.equal([true, true, true, true])
    const encryption = JSON.stringify(body('platform', 'aws_s3_bucket_server_side_encryption_configuration.fleet'))
    expect(encryption).to.include('"bucket_key_enabled":true').and.to.include('"sse_algorithm":"aws:kms"')
    expect(JSON.stringify(body('platform', 'aws_s3_bucket_versioning.fleet'))).to.include('"status":"Enabled"')
    expect(body('platform', 'aws_s3_bucket_policy.fleet').policy).to.include('aws_iam_policy_document.bucket')
  })

  it('alarms have a subscriber, and there is one for every emergency', () => {
    const { variables, locals } = stacks.platform
    expect(variables.get('alarm_subscribers')).not.to.have.property('default')
    const [validation] = variables.get('alarm_subscribers')?.validation ?? []
    expect(validation.condition).to.equal('${length(var.alarm_subscribers) > 0}')
    const watched = { ...(locals.get('lambda_alarms') as Body), ...(locals.get('own_alarms') as Body) }
    expect(Object.keys(watched).sort()).to.deep.equal(
      ['DispatchFailures', 'Errors', 'SecretsUnreadable', 'Throttles', 'Url5xxCount'].sort(),
    )
    const queries = Object.values(locals.get('query_alarms') as Record<string, Body>).map(({ query }) => query)
    expect(queries.join()).to.include('SUM(DeployOutcomes)').and.to.include('MAX(HeartbeatMissing)')
    for (const alarm of ['control_api', 'fleet']) {
      const { alarm_actions, treat_missing_data } = body('platform', `aws_cloudwatch_metric_alarm.${alarm}`)
      expect({ alarm_actions, treat_missing_data }).to.deep.equal({
        alarm_actions: ['${aws_sns_topic.alarms.arn}'],
        treat_missing_data: 'notBreaching',
      })
    }
    const shown = JSON.stringify(body('platform', 'aws_cloudwatch_dashboard.fleet').dashboard_body)
    for (const metric of ['Requests', 'Refusals', 'UpstreamFailures', 'SecretsAgeSeconds', 'SecretsUnreadable'])
      expect(shown).to.include(metric)
    for (const metric of ['DispatchFailures', 'DeployOutcomes', 'HeartbeatMissing']) expect(shown).to.include(metric)
  })

  it('hosts have IMDSv2, an encrypted disk, no ingress, and change only if they are named', () => {
    const instance = body('fleet', 'aws_instance.clawdinator')
    expect(instance.metadata_options[0]).to.include({ http_tokens: 'required' })
    expect(instance.root_block_device[0]).to.include({ encrypted: true, volume_type: 'gp3' })
    expect(instance.lifecycle[0].ignore_changes).to.equal('${all}')
    expect(instance.for_each).to.equal('${local.slots}')
    expect(instance.tags).to.deep.equal({
      app: 'clawdinator',
      Name: '${each.value.id}',
      'clawdinator:id': '${each.value.id}',
      'clawdinator:slot': '${each.value.slot}',
      'clawdinator:request-id': '${var.request_id}',
      'clawdinator:bootstrap-prefix': '${each.value.bootstrapPrefix}',
    })
    expect(body('fleet', 'aws_security_group.clawdinator').ingress).to.deep.equal([])
  })
})

describe('the Control API’s zip', () => {
  const zip = join(ROOT, 'dist/lambda.zip')
  before(function () {
    if (existsSync(zip)) return
    process.stdout.write('    dist/lambda.zip is not built: `npm run build`\n')
    this.skip()
  })

  it('contains the built handler and the licences of its packages, readable for Lambda', () => {
    const files = unzipSync(readFileSync(zip))
    expect(Object.keys(files)).to.deep.equal(['index.mjs', 'THIRD_PARTY_LICENSES'])
    expect(Buffer.from(files['index.mjs'] ?? []).equals(readFileSync(join(ROOT, 'dist/lambda/index.mjs')))).to.equal(
      true,
    )
  })

  it('is the same in any time zone, at any time', () => {
    const script = `
      import { zipLambda } from './scripts/build/zip-lambda.mjs'
      process.stdout.write(Buffer.from(zipLambda(Buffer.from('export const handler = 1'), 'MIT')).toString('base64'))`
    const made = ['UTC', 'Asia/Tokyo', 'America/Los_Angeles'].map((TZ) =>
      execFileSync(process.execPath, ['--input-type=module', '-e', script], {
        cwd: ROOT,
        env: { ...process.env, TZ },
      }).toString(),
    )
    expect(new Set(made).size).to.equal(1)
  })
})
