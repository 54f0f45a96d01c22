import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { execa } from 'execa'
import { candidates, isOurs, type Lookups, resourcesOf } from '../../scripts/platformRecover.js'
import { serve } from '../host/hostSupport.js'
import { ROOT } from '../support/plane.js'
import { readStack } from '../support/stacks.js'

/** Types whose creation may be repeated: AWS accepts the call again, or the object has no unique name. */
const REPEATABLE = new Set([
  'aws_cloudwatch_dashboard',
  'aws_cloudwatch_event_rule',
  'aws_cloudwatch_event_target',
  'aws_cloudwatch_metric_alarm',
  'aws_efs_backup_policy',
  'aws_efs_file_system_policy',
  'aws_iam_role_policy',
  'aws_s3_bucket_lifecycle_configuration',
  'aws_s3_bucket_logging',
  'aws_s3_bucket_ownership_controls',
  'aws_s3_bucket_policy',
  'aws_s3_bucket_public_access_block',
  'aws_s3_bucket_server_side_encryption_configuration',
  'aws_s3_bucket_versioning',
  'aws_sns_topic',
  'aws_sns_topic_subscription',
])
const FOUND: Lookups = {
  account: '111122223333',
  key: 'key-1',
  fileSystem: 'fs-1',
  mountTargets: { 'subnet-1': 'fsmt-1' },
  groups: { 'clawdinator-memory': 'sg-1', 'clawdinator-memory-client': 'sg-2' },
  ingressRule: 'sgr-1',
}

describe('resources that a killed apply of the platform left', () => {
  it('are searched for every resource that AWS creates only once', async () => {
    const { resources, locals } = await readStack('platform')
    const addresses = candidates({ bucket: 'b', lockTable: 't' }, FOUND).map(({ address }) => address)
    const taken = [...resources.keys()].filter((key) => !REPEATABLE.has(key.split('.')[0] ?? ''))
    expect([...new Set(addresses.map((address) => address.replace(/\[.*/, '')))].sort()).to.deep.equal(taken.sort())
    const roles = addresses.filter((address) => address.startsWith('aws_iam_role.ci['))
    expect(roles).to.deep.equal(
      Object.keys(locals.get('ci_roles') as object).map((role) => `aws_iam_role.ci["${role}"]`),
    )
  })

  it('are searched by the names of the stack', async () => {
    const { resources, locals } = await readStack('platform')
    const text = JSON.stringify([...resources, ...locals])
    const names = ['alias/clawdinator', 'clawdinator-control-api', 'ControlApiUrl', 'ControlApiInvokedByUrl', 'Watch']
    for (const name of [...names, 'clawdinator-memory', 'clawdinator-memory-client', 'clawdinator-host-boundary'])
      expect(text, name).to.include(`"${name}"`)
    expect(resources.get('aws_kms_key.bucket')?.description).to.equal('Clawdinator: bucket, lock table, memory and log')
  })

  it('belong to the stack by their tags, or are a bucket without tags', () => {
    const state = {
      resources: [
        {
          ...{ mode: 'managed', type: 'aws_iam_role', name: 'ci' },
          instances: [
            {
              index_key: 'fleet-drift',
              status: 'tainted',
              attributes: { tags_all: { project: 'clawdinator', stack: 'platform' } },
            },
          ],
        },
        {
          ...{ mode: 'managed', type: 'aws_iam_role', name: 'vmimport' },
          instances: [{ attributes: { tags_all: {} } }],
        },
        {
          ...{ mode: 'managed', type: 'aws_s3_bucket', name: 'fleet' },
          instances: [{ attributes: { tags_all: {} } }],
        },
        { ...{ mode: 'managed', type: 'aws_kms_alias', name: 'bucket' }, instances: [{ attributes: {} }] },
        { mode: 'data', type: 'aws_vpc', name: 'fleet', instances: [{}] },
      ],
    }
    const known = resourcesOf(`Warning: something\n${JSON.stringify(state)}`)
    expect(known.map((one) => [one.address, one.tainted, isOurs(one)])).to.deep.equal([
      ['aws_iam_role.ci["fleet-drift"]', true, true],
      ['aws_iam_role.vmimport', false, false],
      ['aws_s3_bucket.fleet', false, true],
      ['aws_kms_alias.bucket', false, true],
    ])
    expect(resourcesOf('')).to.deep.equal([])
  })
})

describe('scripts/platformRecover.ts', () => {
  let folder: string
  let aws: Awaited<ReturnType<typeof serve>>
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'clawctl-recover-'))
    writeFileSync(join(folder, 'a.tf'), 'resource "aws_iam_role" "vmimport" {}\n')
    writeFileSync(join(folder, 'empty'), '{"resources": []}')
    const role = { mode: 'managed', type: 'aws_iam_role', name: 'vmimport' }
    writeFileSync(
      join(folder, 'imported'),
      JSON.stringify({ resources: [{ ...role, instances: [{ attributes: { tags_all: {} } }] }] }),
    )
    // FAILS is the command that fails after the import.
    writeFileSync(
      join(folder, 'tofu'),
      `#!/bin/sh
cd "\${1#-chdir=}" && shift
printf '%s\\n' "$*" >>calls
if [ "$1 $2" = "$FAILS" ] && grep -q ^import calls; then echo 'S3: SlowDown' >&2; exit 1; fi
case "$1 $2" in 'state pull') if grep -q ^import calls; then cat imported; else cat empty; fi ;; esac
`,
      { mode: 0o755 },
    )
    aws = await serve((request, response) => {
      if (request.url?.includes('file-systems')) response.end('{"FileSystems": []}')
      else if (!request.headers['x-amz-target']) response.end('<DescribeSecurityGroupsResponse/>')
      else if (/ListKeys/.test(String(request.headers['x-amz-target']))) response.end('{"Keys": []}')
      else response.writeHead(400).end('{"__type": "NotFoundException"}')
    })
  })
  after(async () => {
    await aws.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const recover = async (fails: string) => {
    rmSync(join(folder, 'calls'), { force: true })
    const script = ['--import', 'tsx', join(ROOT, 'scripts/platformRecover.ts')]
    const ran = await execa(process.execPath, [...script, join(folder, 'tofu'), folder], {
      cwd: ROOT,
      reject: false,
      env: {
        ...{ FAILS: fails, TF_VAR_region: 'eu-central-1', TF_VAR_bucket: 'b', AWS_ENDPOINT_URL: aws.url },
        ...{ AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' },
      },
    })
    return { ...ran, calls: readFileSync(join(folder, 'calls'), 'utf8') }
  }

  it("removes another stack's object from the state, and fails if it can't", async () => {
    const good = await recover('none')
    expect(good.exitCode, good.stderr).to.equal(0)
    expect(good.stderr).to.include("exists and is not this stack's")
    const bad = await recover('state rm')
    expect(bad.exitCode).to.equal(1)
    expect(bad.stderr).to.include('is in the state:\nS3: SlowDown')
  })

  it("removes nothing from a state that it can't read", async () => {
    const { exitCode, stderr, calls } = await recover('state pull')
    expect(exitCode).to.equal(1)
    expect(stderr).to.include("the state can't be read:\nS3: SlowDown")
    expect(calls).not.to.include('state rm')
  })
})

describe('scripts/platform.sh', () => {
  it("applies nothing after a killed first apply if it can't read the state in the bucket", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'clawctl-platform-'))
    try {
      writeFileSync(join(folder, 'first-apply.tfstate'), '{"lineage": "a"}')
      writeFileSync(
        join(folder, 'tofu'),
        `#!/bin/sh
cd "\${1#-chdir=}" && shift
printf '%s\\n' "$1 $2" >>calls
if [ "$1 $2" = 'state pull' ]; then echo 'S3: SlowDown' >&2; exit 1; fi
`,
        { mode: 0o755 },
      )
      const { exitCode, stderr } = await execa('bash', [join(ROOT, 'scripts/platform.sh'), 'apply'], {
        reject: false,
        env: { TOFU: join(folder, 'tofu'), PLATFORM_STACK: folder, TF_VAR_region: 'eu-central-1', TF_VAR_bucket: 'b' },
      })
      expect(exitCode).to.equal(1)
      expect(stderr).to.equal('S3: SlowDown')
      expect(readFileSync(join(folder, 'calls'), 'utf8')).to.equal('init -input=false\nstate pull\n')
      expect(existsSync(join(folder, 'first-apply.tfstate'))).to.equal(true)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe('scripts/propose.sh', () => {
  let folder: string
  before(async function () {
    if ((await execa('git', ['--version'], { reject: false })).failed) return this.skip()
    folder = mkdtempSync(join(tmpdir(), 'clawctl-lock-'))
    await execa('git', ['init', '--quiet', '--bare', join(folder, 'origin')])
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    // Logs its calls, and has one pull request from its creation until it is closed.
    writeFileSync(
      join(bin, 'gh'),
      `#!/bin/sh
printf '%s %s\\n' "$1" "$2" >>"$CALLS"
case "$1 $2" in
  'pr list') awk '/^pr create/ { n = 1 } /^pr close/ { n = 0 } END { print n + 0 }' "$CALLS" ;;
esac
`,
    )
    chmodSync(join(bin, 'gh'), 0o755)
  })
  after(() => folder && rmSync(folder, { recursive: true, force: true }))

  const calls = () => readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n')
  const lock = async (hashes: string | null) => {
    const clone = mkdtempSync(join(folder, 'clone-'))
    await execa('git', ['init', '--quiet', '--initial-branch=main', clone])
    for (const stack of ['fleet', 'platform']) {
      const dir = join(clone, 'infra/opentofu/aws', stack)
      mkdirSync(dir, { recursive: true })
      writeFileSync(join(dir, '.terraform.lock.hcl'), 'old')
    }
    const git = {
      cwd: clone,
      env: { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b' },
    }
    await execa('git', ['add', '.'], git)
    await execa('git', ['commit', '--quiet', '--message=first'], git)
    if (hashes !== null) writeFileSync(join(clone, 'infra/opentofu/aws/fleet/.terraform.lock.hcl'), hashes)
    return execa('bash', [join(ROOT, 'scripts/propose.sh'), 'tofu-lock', 'Lock the providers', 'Hashes.'], {
      cwd: clone,
      env: {
        PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
        CALLS: join(folder, 'calls'),
        GITHUB_REPOSITORY: 'example/fleet',
        BASE: 'main',
        // The push to GitHub goes to the folder.
        GIT_CONFIG_COUNT: '1',
        GIT_CONFIG_KEY_0: `url.${join(folder, 'origin')}.insteadOf`,
        GIT_CONFIG_VALUE_0: 'https://github.com/example/fleet.git',
      },
    })
  }

  it('opens one pull request for a change, updates it, and does nothing without a change', async () => {
    await lock('new')
    expect(calls()).to.deep.equal(['auth setup-git', 'pr list', 'pr create'])
    const pushed = await execa('git', [
      '-C',
      join(folder, 'origin'),
      'show',
      'tofu-lock:infra/opentofu/aws/fleet/.terraform.lock.hcl',
    ])
    expect(pushed.stdout).to.equal('new')
    await lock('newer')
    expect(calls()).to.deep.equal(['auth setup-git', 'pr list', 'pr create', 'auth setup-git', 'pr list'])
    const { stdout } = await lock(null)
    expect(stdout).to.equal('Nothing changed.')
    expect(calls()).to.have.length(5)
    // A closed pull request stays closed after a push to its branch.
    appendFileSync(join(folder, 'calls'), 'pr close\n')
    await lock('newest')
    expect(calls().slice(6)).to.deep.equal(['auth setup-git', 'pr list', 'pr create'])
    expect(existsSync(join(folder, 'origin/refs/heads/main'))).to.equal(false)
  })
})
