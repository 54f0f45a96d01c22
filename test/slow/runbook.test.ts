import { readFileSync } from 'node:fs'
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import type { ImageInfo } from '../../src/lib/domain/images/build.js'
import { SecretsWorld } from '../support/bundles.js'
import { copyCheckout, inSandbox, type Outcome, ROOT, run, temporaryFolder } from '../support/cli.js'
import { bootSector, sha256 } from '../support/fakeDisk.js'

const KMS_KEY = 'arn:aws:kms:eu-central-1:000000000000:key/00000000-0000-0000-0000-000000000000'
/** A reader's own value in a block. */
const ID = 'clawdinator-3'
const NEW_IDENTITY = `clawctl secrets identity new ${ID} --secrets-dir ../nix-secrets --identity ~/.config/age/keys.txt`
const UPLOAD =
  'clawctl bootstrap upload all --mode ci --secrets-dir ../nix-secrets --identity ~/.config/age/keys.txt --kms-key "$FLEET_KMS_KEY_ARN"'
/** The earlier steps that a block needs, by its first command. */
const DONE_BEFORE: Record<string, string> = {
  'clawctl registry remove': `${NEW_IDENTITY}\n${UPLOAD}\nclawctl fleet deploy ${ID} --requested-by Jo --wait`,
  'clawctl secrets check': UPLOAD,
  'clawctl secrets identity': `clawctl registry add ${ID}`,
  'clawctl token add': 'clawctl secrets control-api edit --mode ci',
}
/**
 * Commands that need a terminal; the person answers yes. script(1) waits two seconds at its end, so the others run
 * without it.
 */
const ASKS = /control-api edit|image prune (?!.*--dry-run)/
/** Fills in what `secrets control-api edit` opens. */
const EDITOR = `#!/bin/sh\necho '{"CONTROL_API_TOKEN": "0123456789abcdef", "GITHUB_TOKEN": "0123456789abcdef"}' >"$1"\n`

interface Block {
  heading: string
  line: number
  text: string
  /** The reason why it can't run here, from the comment above it. */
  reason: string | null
}

/** The shell blocks of a page. One that can't run has a comment above it: `<!-- not run: WHY -->`. */
function blocksOf(page: string): Block[] {
  const blocks: Block[] = []
  const lines = page.split('\n')
  let heading = ''
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? ''
    heading = /^##+ (.*)$/.exec(line)?.[1] ?? heading
    const indent = /^( *)```bash$/.exec(line)?.[1]
    if (indent === undefined) continue
    const end = lines.indexOf(`${indent}\`\`\``, index)
    const text = lines.slice(index + 1, end).map((one) => one.slice(indent.length))
    const reason = /^ *<!-- not run: (.+) -->$/.exec(lines[index - 1] ?? '')?.[1] ?? null
    blocks.push({ heading, line: index + 1, text: text.join('\n'), reason })
    index = end
  }
  return blocks
}

/** Runs blocks one after the other, as a maintainer with `.env` loaded types them in a checkout beside nix-secrets. */
async function typed(folder: string, running: string[], blocks: readonly Block[]): Promise<Map<Block, Outcome>> {
  const path = (file: string) => join(folder, file)
  await mkdir(path('checkout/dist'), { recursive: true })
  await copyCheckout(path('checkout'))
  await mkdir(path('checkout/clawdinator'))
  const ids = ['clawdinator-1', 'clawdinator-2']
  const secrets = await SecretsWorld.make(ids)
  for (const id of [...ids, ID])
    await secrets.put(
      id.replace('-', '-discord-token-'),
      ids.filter((one) => one === id),
    )
  await mkdir(path('home/.config/age'), { recursive: true })
  await cp(secrets.maintainerKey, path('home/.config/age/keys.txt'))
  await symlink(secrets.secretsDir, path('nix-secrets'))
  await cp(secrets.repos, path('checkout/clawdinator/repos.tsv'))
  await writeFile(path('editor'), EDITOR, { mode: 0o755 })
  await writeImage(path('checkout/dist'))
  return inSandbox({ checkout: path('checkout'), running }, async (sandbox) => {
    // As the platform stack's output `set_repository_variables` sets it.
    Object.assign(sandbox.inner.github.options.vars ?? {}, { KMS_KEY_ARN: KMS_KEY })
    const who = { GIT_AUTHOR_NAME: 'Jo', GIT_AUTHOR_EMAIL: 'jo@example.com' }
    const env = {
      ...(await sandbox.environment('laptop')),
      ...(await sandbox.environment('ci')),
      ...{ CLAWCTL_MODE: undefined, CLAWCTL_HEALTH_TIMEOUT: undefined, CLAWCTL_CHECKOUT: undefined, TERM: 'xterm' },
      ...{ CI: undefined, GITHUB_ACTIONS: undefined },
      ...{ HOME: path('home'), XDG_STATE_HOME: path('state'), EDITOR: path('editor'), FLEET_KMS_KEY_ARN: KMS_KEY },
      ...{ ...who, GIT_COMMITTER_NAME: 'Jo', GIT_COMMITTER_EMAIL: 'jo@example.com' },
    }
    const type = async (script: string) => {
      await writeFile(path('typed'), `set -euo pipefail\ncd '${path('checkout')}'\n${script}\n`)
      const terminal = `echo y | script -qec 'bash ${path('typed')}' /dev/null`
      return run(ASKS.test(script) ? ['bash', '-c', terminal] : ['bash', path('typed')], { env })
    }
    await type(`git init --quiet --bare --initial-branch=main ../nix-secrets.git
      cd ../nix-secrets && git init --quiet --initial-branch=main && git add --all && git commit --quiet --message=first
      git remote add origin '${path('nix-secrets.git')}' && git push --quiet --set-upstream origin main`)
    const outcomes = new Map<Block, Outcome>()
    for (const block of blocks) {
      const before = Object.entries(DONE_BEFORE).find(([begin]) => block.text.startsWith(begin))?.[1]
      if (before) {
        const { code, stdout, stderr } = await type(before)
        expect(code, stdout + stderr).to.equal(0)
      }
      outcomes.set(block, await type(block.text.replaceAll(/\bID\b/g, ID)))
    }
    return outcomes
  }).finally(() => secrets.remove())
}

/** The files that `clawctl image build` leaves. */
async function writeImage(folder: string): Promise<void> {
  const image = Buffer.concat([bootSector()], 8 * 1024 ** 2)
  const info: ImageInfo = {
    ...{ schema: 1, name: 'clawdinator', path: 'nixos.raw', format: 'raw', bootMode: 'legacy-bios' },
    ...{ logicalBytes: image.length, allocatedBytes: image.length, sha256: sha256(image).toString('hex') },
    ...{ system: 'x86_64-linux', revision: null, toplevel: null },
  }
  await writeFile(join(folder, 'nixos.raw'), image)
  await writeFile(join(folder, 'image.json'), JSON.stringify(info))
}

describe('the blocks of the runbook', function () {
  this.timeout(120_000)
  const files = temporaryFolder()
  const blocks = blocksOf(readFileSync(join(ROOT, 'docs/RUNBOOK.md'), 'utf8'))
  const able = blocks.filter(({ reason }) => reason === null)
  const outcomes = new Map<Block, Outcome>()

  before(async () => {
    const middle = able.findIndex(({ heading }) => heading === 'Upload a bundle')
    const halves = await Promise.all([
      typed(files.path('first'), [], able.slice(0, middle)),
      typed(files.path('second'), ['clawdinator-1'], able.slice(middle)),
    ])
    for (const [block, outcome] of halves.flatMap((half) => [...half])) outcomes.set(block, outcome)
  })

  it('run, except those that need more than a sandbox; none of these has a command of clawctl', () => {
    expect(able.length).to.be.at.least(13)
    const excused = blocks.filter(({ reason, text }) => reason !== null && /^\s*clawctl /m.test(text))
    expect(excused.map(({ line }) => line)).to.deep.equal([])
  })

  for (const block of able) {
    it(`${block.heading}, line ${block.line}: ${block.text.split('\n')[0]}`, () => {
      const { code, stdout, stderr } = outcomes.get(block) ?? {}
      expect(code, `${stdout}${stderr}`).to.equal(0)
    })
  }
})
