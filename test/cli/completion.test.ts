import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { execa } from 'execa'
import { clawctl, LATEST_AMI, OLDER_AMI, TestSandbox } from '../support/cli.js'

/** The typed line, then words that must be offered and words that must not. */
const CASES: [typed: string, offered: string[], not: string[]][] = [
  ['clawctl ', ['fleet', 'image', 'registry', 'completion'], ['deploy', 'clawdinator-1']],
  ['clawctl fleet ', ['deploy', 'status', 'history'], ['list', 'clawdinator-1']],
  ['clawctl secrets identity ', ['new', 'rotate'], ['check']],
  ['clawctl fleet deploy ', ['all', 'clawdinator-1', 'clawdinator-2'], ['deploy', 'status']],
  ['clawctl fleet show ', ['clawdinator-1', 'clawdinator-2'], ['all']],
  ['clawctl fleet deploy --ami ', [LATEST_AMI, OLDER_AMI], ['all', 'clawdinator-1']],
  ['clawctl fleet deploy --strategy ', ['handover', 'replace'], ['all']],
  ['clawctl fleet deploy --requested-by ', [], ['all', 'clawdinator-1', 'handover', 'fleet']],
  ['clawctl fleet deploy clawdinator-2 --w', ['--wait'], ['--ami', 'all']],
  ['clawctl registry add ', [], ['clawdinator-1', 'all']],
  ['clawctl fleet status ', [], ['clawdinator-1', 'all']],
  ['clawctl sandbox up --as ', ['laptop', 'ci', 'clawdinator-1'], ['all']],
  ['clawctl sandbox up --fault ', ['host:crash', 'ec2:throttle'], ['laptop']],
  ['clawctl completion ', ['bash', 'zsh', 'fish'], []],
]

const SHELL_PATHS = (process.env.PATH ?? '').split(':')
const isThere = (program: string) => SHELL_PATHS.some((folder) => existsSync(join(folder, program)))

describe('completion', () => {
  let sandbox: TestSandbox
  let folder: string
  const scripts: Record<string, string> = {}
  before(async () => {
    sandbox = await TestSandbox.start({ running: ['clawdinator-1'] })
    folder = await mkdtemp(join(tmpdir(), 'clawctl-completion-'))
    await writeFile(join(folder, 'bundle.age'), '')
    for (const shell of ['bash', 'zsh', 'fish']) {
      scripts[shell] = join(folder, `completion.${shell}`)
      await writeFile(scripts[shell], (await clawctl(['completion', shell])).stdout)
    }
  })
  after(async () => {
    await sandbox.close()
    await rm(folder, { recursive: true, force: true })
  })

  /** Runs a script in the shell itself. */
  async function inShell(shell: string, args: readonly string[], input = ''): Promise<string> {
    const env = { ...(await sandbox.environment('laptop')), TERM: 'dumb', HOME: folder, PS1: '> ' }
    const { stdout, stderr } = await execa(shell, args, { env, extendEnv: false, cwd: folder, input, reject: false })
    return `${stdout}\n${stderr}`
  }

  function skipWithout(this: Mocha.Context, shell: string): void {
    if (isThere(shell)) return
    process.stdout.write(`    ${shell} is not installed\n`)
    this.skip()
  }

  /** How bash splits the line into words, and the words with which the function replies. */
  async function ofBash(typed: string): Promise<string[]> {
    const words = typed.split(/([=:])|\s/).filter((word) => word !== undefined && word !== '')
    if (/\s$/.test(typed)) words.push('')
    const list = words.map((word) => `'${word}'`).join(' ')
    const script = `source ${scripts.bash}; COMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}; _clawctl; printf '%s\\n' "\${COMPREPLY[@]}"`
    return (await inShell('bash', ['--norc', '-c', script])).split('\n').filter(Boolean)
  }

  it('offers matching words in bash, and none if there are none', async function () {
    skipWithout.call(this, 'bash')
    for (const [typed, offered, not] of CASES) {
      const got = await ofBash(typed)
      expect(got, typed).to.include.members(offered)
      for (const word of not) expect(got, typed).not.to.include(word)
      if (offered.length === 0) expect(got, typed).to.deep.equal([])
    }
    // Bash splits a word at its colons.
    expect(await ofBash('clawctl sandbox up --fault host:cr')).to.deep.equal(['crash'])
    expect(await ofBash('clawctl fleet deploy --strategy=hand')).to.deep.equal(['handover'])
    expect(await ofBash('clawctl fleet deploy --strategy handover clawdinator-2 ')).to.deep.equal([])
    expect(await ofBash('clawctl image upload bun')).to.deep.equal(['bundle.age'])
    expect(await ofBash('clawctl fleet deploy --ami ami-nothing')).to.deep.equal([])
  })

  it('offers the same words in fish', async function () {
    skipWithout.call(this, 'fish')
    for (const [typed, offered, not] of CASES) {
      const text = await inShell('fish', ['--no-config', '-c', `source ${scripts.fish}; complete -C '${typed}'`])
      const words = text.split('\n').flatMap((line) => line.split('\t')[0] || [])
      expect(words, typed).to.include.members(offered)
      for (const word of not) expect(words, typed).not.to.include(word)
    }
    const file = await inShell('fish', [
      '--no-config',
      '-c',
      `source ${scripts.fish}; complete -C 'clawctl image upload bun'`,
    ])
    expect(file).to.include('bundle.age')
  })

  it("completes the typed text at zsh's own prompt", async function () {
    skipWithout.call(this, 'zsh')
    const typed: [string, string][] = [
      ['clawctl fl\t', 'fleet'],
      ['clawctl fleet sta\t', 'fleet status'],
      ['clawctl fleet deploy al\t', 'fleet deploy all'],
      ['clawctl sandbox up --as la\t', 'sandbox up --as laptop'],
      ['clawctl secrets identity rot\t', 'secrets identity rotate'],
      ['clawctl fleet deploy --strategy hand\t', 'fleet deploy --strategy handover'],
      ['clawctl fleet deploy --strategy=hand\t', 'fleet deploy --strategy=handover'],
      ['clawctl sandbox up --fault host:cr\t', 'sandbox up --fault host:crash'],
      // Completes the part that both AMIs have in common.
      ['clawctl fleet deploy --ami a\t', `fleet deploy --ami ${LATEST_AMI.slice(0, -1)}`],
      ['clawctl image upload bun\t', 'image upload bundle.age'],
      ['clawctl fleet deploy --requested-by cl\t', 'fleet deploy --requested-by cl$'],
    ]
    // Tab completes, prints the line, and empties it.
    const setUp = [
      'autoload -Uz compinit && compinit -u -D',
      `source ${scripts.zsh}`,
      'show() { zle complete-word; zle -I; print -r -- "<<$BUFFER>>"; BUFFER= }',
      'zle -N show; bindkey "^I" show; setopt menucomplete; print REA""DY',
    ].join('; ')
    const driver = `
      zmodload zsh/zpty
      until_seen() { local seen= part=; while [[ $seen != *$1* ]]; do zpty -r shell part || return 1; seen+=$part; done; print -r -- "$seen" }
      zpty shell zsh -f -i
      zpty -w shell '${setUp}'
      until_seen READY >/dev/null
      while IFS= read -r line; do
        zpty -w -n shell "$line"
        until_seen '>>' | grep -o '<<.*>>'
      done
      zpty -d shell`
    const input = `${typed.map(([line]) => line).join('\n')}\n`
    await writeFile(join(folder, 'driver.zsh'), driver)
    const got = await inShell('zsh', ['-f', join(folder, 'driver.zsh')], input)
    const ran = [...got.matchAll(/<<(.*?)>>/g)].map(([, line]) => line?.trim())
    expect(ran.length, got).to.equal(typed.length)
    for (const [at, [line, want]] of typed.entries()) expect(ran[at], line).to.match(new RegExp(`^clawctl ${want}`))
  })

  it('prints what to do in zsh without compinit', async function () {
    skipWithout.call(this, 'zsh')
    const said = await inShell('zsh', ['-f', '-c', `source ${scripts.zsh}`])
    expect(said).to.include('autoload -Uz compinit && compinit')
    expect(said).not.to.include('command not found')
  })

  it("offers the fleet's ids outside of a checkout, and prints nothing if no service answers", async () => {
    const values = (kind: string, env: Record<string, string>) =>
      sandbox.clawctl('laptop', ['completion', 'values', kind], { env: { CLAWCTL_CHECKOUT: folder, ...env } })
    expect((await values('ids', {})).stdout).to.equal('clawdinator-1\nclawdinator-2\n')
    const down = await values('amis', { CLAWDINATOR_CONTROL_API_URL: 'http://127.0.0.1:9' })
    expect(down.stdout).to.equal('')
  })
})
