import { statSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { BIN, ROOT, TestSandbox } from '../support/cli.js'

const HOOK = `
  import { writeSync } from 'node:fs'
  export function load(url, context, next) {
    if (url.startsWith('file:')) writeSync(2, 'LOADED ' + decodeURIComponent(new URL(url).pathname) + '\\n')
    return next(url, context)
  }`
const module = (source: string) => `data:text/javascript,${encodeURIComponent(source)}`
const REGISTER = module(`import { register } from 'node:module'; register(${JSON.stringify(module(HOOK))})`)

/** A few percent above the measured values, so that one more package or a few more chunks fail. */
const BOUNDS: { args: string[]; shows: string; files: number; kilobytes: number }[] = [
  { args: ['--version'], shows: 'clawctl/', files: 3, kilobytes: 5 },
  { args: ['fleet', 'status', '--help'], shows: 'EXIT CODES', files: 9, kilobytes: 250 },
  { args: ['fleet', 'status'], shows: 'clawdinator-1', files: 16, kilobytes: 425 },
]

describe('a start', () => {
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await TestSandbox.start()
  })
  after(() => sandbox.close())

  for (const { args, shows, files, kilobytes } of BOUNDS) {
    it(`loads at most ${files} files of ${kilobytes} KB for clawctl ${args.join(' ')}`, async () => {
      const command = [process.execPath, '--import', REGISTER, BIN, ...args]
      const { code, stdout, stderr } = await sandbox.run('laptop', command)
      expect(code, stderr).to.equal(0)
      expect(stdout).to.include(shows)
      const loaded = [...stderr.matchAll(/^LOADED (.+)$/gm)].map(([, file]) => file ?? '')
      expect(loaded).to.include(join(ROOT, 'dist/main.js')).and.to.have.lengthOf.at.most(files)
      const bytes = loaded.reduce((sum, file) => sum + statSync(file).size, 0)
      expect(bytes / 1000, loaded.join('\n')).to.be.at.most(kilobytes)
    })
  }
})
