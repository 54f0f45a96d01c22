import { chmod, cp, mkdir, readFile, symlink } from 'node:fs/promises'
import { delimiter } from 'node:path'
import { expect } from 'chai'
import { SecretsWorld } from '../support/bundles.js'
import {
  BIN,
  copyCheckout,
  LATEST_AMI,
  type Outcome,
  ROOT,
  run,
  surroundings,
  TestSandbox,
  temporaryFolder,
} from '../support/cli.js'

const KMS_KEY = 'arn:aws:kms:eu-central-1:000000000000:key/00000000-0000-0000-0000-000000000000'
const BLOCK = /^## Full deploy for maintainers$[\s\S]*?^```bash\n([\s\S]*?)^```$/m
/** The addresses of the sandbox's services, which a maintainer's shell does not need. */
const PLACES = /^(?:AWS_ENDPOINT_URL.*|AWS_EC2_METADATA_DISABLED|CLAWCTL_HOST_ROOT)$/

/** Programs that the test replaces, and the editor. Each logs its arguments. */
const PROGRAMS = {
  npm: ':',
  nix: 'touch flake.lock',
  gh: 'if [[ $1 == auth ]]; then echo token; fi',
  tofu: `case "$*" in
    *'init '*-backend-config*-reconfigure* | *'init '*-reconfigure*-backend-config*) echo NoSuchBucket >&2; exit 1 ;;
    *'output -raw set_repository_variables') echo "gh variable set S3_BUCKET --body '$BUCKET'" ;;
    *'output -raw shell_settings')
      printf '%s\\n' "AWS_REGION='eu-central-1'" "S3_BUCKET='$BUCKET'" "FLEET_KMS_KEY_ARN='$KMS_KEY'" \\
        "CLAWDINATOR_CONTROL_API_URL='$URL'" GITHUB_REPOSITORY=openclaw/clawdinators ;;
  esac`,
  editor: `case $1 in
    .env) sed -i "s,NAME-OF-THE-BUCKET,$BUCKET,; s,OWNER/NAME$,openclaw/clawdinators,; s,_id=$,_id=42," "$1" ;;
    */repos.tsv) printf 'clawdinators\\tfile://%s\\tmain\\n' "$FOLDER/checkout.git" >"$1" ;;
    *.tfvars) echo 'github_app_id = "100001"' >"$1" ;;
  esac`,
  // Terminal input comes from a file here; commands that need Nix are left out.
  clawctl: `case "$*" in
    'image build'*) echo '{"path": "nixos.img"}' >dist/image.json ;;
    'image '*) ;;
    'secrets control-api edit '*)
      "$NODE" "$BIN" "$@" --file - <<<'{"CONTROL_API_TOKEN": "0123456789abcdef", "GITHUB_TOKEN": "0123456789abcdef"}' ;;
    login) "$NODE" "$BIN" login --control-api-url "$CLAWDINATOR_CONTROL_API_URL" --name Jo <"$FOLDER/token" ;;
    *) exec "$NODE" "$BIN" "$@" ;;
  esac`,
}

/** The block of the README, word for word, as a maintainer types it. */
describe('the full deploy of the README', function () {
  this.timeout(120_000)
  const files = temporaryFolder()
  let sandbox: TestSandbox
  let secrets: SecretsWorld
  let outcome: Outcome
  before(async () => {
    const checkout = files.path('checkout')
    await mkdir(`${checkout}/dist`, { recursive: true })
    await copyCheckout(checkout)
    for (const part of ['scripts', 'clawdinator', '.env.example', '.gitignore'])
      await cp(`${ROOT}/${part}`, `${checkout}/${part}`, { recursive: true })
    const [started, made] = await Promise.all([TestSandbox.start({ checkout, running: [] }), SecretsWorld.make([])])
    sandbox = started
    secrets = made
    // As `gh variable set` does.
    Object.assign(sandbox.inner.github.options.vars ?? {}, { KMS_KEY_ARN: KMS_KEY })
    const registry = JSON.parse(await readFile(`${checkout}/nix/instances.json`, 'utf8'))
    for (const { discordTokenSecret } of Object.values<{ discordTokenSecret: string }>(registry))
      await secrets.put(discordTokenSecret, [])
    await symlink(secrets.secretsDir, files.path('nix-secrets'))

    await mkdir(files.path('bin'))
    for (const [name, body] of Object.entries(PROGRAMS)) {
      const text = `#!/usr/bin/env bash\nset -eu\nprintf '%s\\n' "${name} $*" >>"$FOLDER/log"\n${body}\n`
      await chmod(await files.write(`bin/${name}`, text), 0o755)
    }
    await mkdir(files.path('home/.config/age'), { recursive: true })
    await cp(secrets.maintainerKey, files.path('home/.config/age/keys.txt'))
    const { ci, controlToken, controlApiUrl } = sandbox.inner.session
    await files.write('token', controlToken)
    await files.write(
      'credentials',
      `[fleet]\naws_access_key_id = ${ci.AWS_ACCESS_KEY_ID}\naws_secret_access_key = ${ci.AWS_SECRET_ACCESS_KEY}\n`,
    )
    const { PATH = '' } = surroundings()
    const places = Object.entries(await sandbox.environment('ci')).filter(([name]) => PLACES.test(name))
    const env = {
      ...Object.fromEntries(places),
      ...{
        PATH: [files.path('bin'), PATH].join(delimiter),
        HOME: files.path('home'),
        EDITOR: files.path('bin/editor'),
      },
      ...{
        FOLDER: files.path(''),
        NODE: process.execPath,
        BIN,
        KMS_KEY,
        BUCKET: ci.S3_BUCKET ?? '',
        URL: controlApiUrl,
      },
      ...{ AWS_SHARED_CREDENTIALS_FILE: files.path('credentials'), AWS_CONFIG_FILE: files.path('no-config') },
      ...{ GIT_AUTHOR_NAME: 'Jo', GIT_AUTHOR_EMAIL: 'jo@example.com' },
      ...{ GIT_COMMITTER_NAME: 'Jo', GIT_COMMITTER_EMAIL: 'jo@example.com' },
    }
    const repositories = `for name in checkout nix-secrets; do
        git init --quiet --bare --initial-branch=main "$FOLDER/$name.git"
        git -C "$FOLDER/$name" init --quiet --initial-branch=main
        git -C "$FOLDER/$name" add --all
        git -C "$FOLDER/$name" commit --quiet --message=first
        git -C "$FOLDER/$name" remote add origin "file://$FOLDER/$name.git"
        git -C "$FOLDER/$name" push --quiet --set-upstream origin main
      done`
    const block = BLOCK.exec(await readFile(`${ROOT}/README.md`, 'utf8'))?.[1] ?? ''
    const script = `set -euo pipefail\n${repositories}\ncd "$FOLDER/checkout"\n${block}`
    outcome = await run(['bash', '-c', script], { env })
  })
  after(async () => {
    await sandbox.close()
    secrets.remove()
  })

  it('starts the host, through the Control API and the workflow', async () => {
    expect(outcome.code, outcome.stdout + outcome.stderr).to.equal(0)
    expect(sandbox.hosts()).to.deep.equal([`clawdinator-1 ${LATEST_AMI}`])
    const [run] = sandbox.inner.github.runs
    expect(run?.displayTitle).to.match(/^fleet deploy clawdinator-1 .* by Jo$/)
  })

  it("commits and pushes the fleet's settings, and puts that commit into the bundles", async () => {
    const head = await run(['git', '-C', files.path('checkout.git'), 'rev-parse', 'main'])
    const status = await run(['git', '-C', files.path('checkout'), 'status', '--porcelain'])
    expect(status.stdout).to.equal('')
    const manifest = sandbox.bucket.get('bootstrap/clawdinator-1/config.json')
    expect(String(manifest?.body)).to.include(head.stdout.trim())
  })

  it('makes an image that every host can boot', async () => {
    const log = await readFile(files.path('log'), 'utf8')
    expect(log).to.include('\nclawctl image build --out dist\n')
  })
})
