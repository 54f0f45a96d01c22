import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { build } from 'esbuild'
import { ROOT } from '../support/plane.js'
import { isNode } from '../support/sources.js'

const BUNDLE = join(ROOT, 'dist/lambda/index.mjs')
const MAX_BYTES = 600_000
describe('the Lambda bundle', () => {
  before(function () {
    if (existsSync(BUNDLE)) return
    process.stdout.write('    dist/lambda is not built: `npm run build`\n')
    this.skip()
  })

  it(`has at most ${MAX_BYTES} bytes`, () => expect(statSync(BUNDLE).size).to.be.within(50_000, MAX_BYTES))

  it("imports only Node's built-in modules", async () => {
    const { metafile } = await build({
      entryPoints: [BUNDLE],
      bundle: true,
      write: false,
      metafile: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'silent',
      packages: 'external',
    })
    const imported = Object.values(metafile.inputs).flatMap((input) => input.imports.map(({ path }) => path))
    // esbuild does not follow the banner's own require. The one in brackets is part of an SDK's message.
    const calls = readFileSync(BUNDLE, 'utf8').matchAll(/(?<![[\w.$])require\("([^"]+)"\)/g)
    const foreign = [...imported, ...[...calls].map(([, name]) => name ?? '')].filter((name) => !isNode(name))
    expect(imported).to.include('node:crypto')
    expect([...new Set(foreign)]).to.deep.equal([])
  })

  it('is one file', () => {
    expect(readdirSync(join(ROOT, 'dist/lambda'))).to.deep.equal(['index.mjs'])
  })
})
