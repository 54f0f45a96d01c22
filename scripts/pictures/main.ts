import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ROOT } from '../docs.js'
import { renderDiagrams } from './diagrams.js'
import { logo } from './logo.js'
import { animation, type Chunk, record, still } from './terminal.js'

/**
 * Makes the pictures of README and docs: the logo and the diagrams from their sources, the screens and the recording from
 * real runs in the sandbox. Part of `npm run readme`; needs util-linux `script` for a terminal of its own.
 */
const ASSETS = join(ROOT, 'assets')
const SIZE = { cols: 100, rows: 34 }
/** Commands whose last screen is a picture: file name, title, arguments. */
const SCREENS = [
  ['status', 'clawctl fleet status', 'fleet status'],
  ['preflight', 'clawctl preflight', 'preflight'],
] as const

await mkdir(ASSETS, { recursive: true })
await writeFile(join(ASSETS, 'logo.svg'), logo())
await renderDiagrams(join(ROOT, 'docs/pictures'), ASSETS)
for (const [name, title, args] of SCREENS) {
  const { chunks } = await run(`sandbox run -- clawctl ${args}`)
  await writeFile(join(ASSETS, `${name}.svg`), await still([prompt(title), ...chunks], SIZE, title))
}
const { chunks, code } = await run('sandbox demo')
if (code !== 0) throw new Error(`The demo ended with exit code ${code}.`)
await writeFile(
  join(ASSETS, 'demo.svg'),
  await animation(chunks, SIZE, 'clawctl sandbox demo', { speed: 2, holdMs: 4000 }),
)

function run(args: string) {
  return record(`${process.execPath} ${join(ROOT, 'bin/run.js')} ${args}`, SIZE, {
    ...process.env,
    CLAWCTL_CHECKOUT: ROOT,
  })
}

/** The typed line above a screen. */
function prompt(command: string): Chunk {
  return { at: 0, text: `\u001b[36mlaptop$ ${command}\u001b[0m\r\n` }
}
