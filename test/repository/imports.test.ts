import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { type Import, importsOf, packageOf } from '../support/imports.js'
import { ROOT } from '../support/plane.js'
import { isNode, sourcesBelow } from '../support/sources.js'

/** The imports that each layer may have; a file's layer is the first that matches. Every other import is refused. */
interface Layer {
  files: RegExp
  /** Of our own files. */
  ours: RegExp[]
  /** Our own files whose types alone may be imported, which adds nothing to the bundle. */
  types?: RegExp[]
  /** Our own files that may be imported only with `await import()`. */
  lazily?: RegExp[]
  packages?: RegExp
  node?: RegExp
}

const DOMAIN = /^src\/lib\/domain\//
const OPS = /^src\/lib\/ops\//
const ADAPTERS = /^src\/lib\/adapters\//
const CLI = /^src\/lib\/cli\//
const SANDBOX = /^sandbox\//
/** One of our own files, in any of the three source folders. */
const OURS = /^(?:src|lambda|sandbox)\//
/** Only execa starts processes. */
const NODE = /^node:(?!child_process$)/
const LAYERS: Layer[] = [
  { files: DOMAIN, ours: [DOMAIN], packages: /^(?:zod|jsonc-parser|fastest-levenshtein|ms|diff)$/ },
  { files: OPS, ours: [OPS, DOMAIN], packages: /^(?:zod|ms|p-map)$/ },
  { files: ADAPTERS, ours: [ADAPTERS, DOMAIN], types: [OPS], packages: /^(?!@oclif|listr2)/, node: NODE },
  {
    files: SANDBOX,
    ours: [SANDBOX, DOMAIN, /^src\/lib\/adapters\/settings\.ts$/],
    packages: /^(?!@oclif|listr2)/,
    node: NODE,
  },
  {
    files: /^src\/lib\/cli\/context\.ts$/,
    ours: [CLI, OPS, DOMAIN, ADAPTERS],
    packages: /^@oclif\/core$/,
    node: /^node:(?:os|path)$/,
  },
  {
    files: /^src\/lib\/cli\/sandboxFlags\.ts$/,
    ours: [DOMAIN],
    lazily: [/^sandbox\/index\.ts$/],
    packages: /^@oclif\/core$/,
  },
  { files: /^src\/lib\/cli\/confirm\.ts$/, ours: [DOMAIN], packages: /^@inquirer\/(?:confirm|input|password)$/ },
  { files: /^src\/lib\/cli\/mcpServer\.ts$/, ours: [CLI], packages: /^@modelcontextprotocol\/sdk$/ },
  { files: /^src\/lib\/cli\/progress\.ts$/, ours: [CLI, DOMAIN], types: [OPS], packages: /^(?:listr2|ms)$/ },
  {
    files: CLI,
    ours: [CLI, DOMAIN],
    types: [OPS],
    packages: /^(?:@oclif\/core|ms|zod)$/,
    node: /^node:util$/,
  },
  {
    files: /^src\/commands\//,
    ours: [CLI, OPS, DOMAIN],
    packages: /^(?:@oclif\/core|ms)$/,
  },
  { files: /^src\/(?:help|commandNotFound)\.ts$/, ours: [CLI, DOMAIN], packages: /^@oclif\/core$/ },
  { files: /^src\/main\.ts$/, ours: [], lazily: [CLI], node: /^node:(?:fs|path|url)$/ },
  {
    files: /^lambda\/context\.ts$/,
    ours: [DOMAIN, ADAPTERS, /^lambda\//],
    types: [OPS],
  },
  { files: /^lambda\//, ours: [/^lambda\//, OPS, DOMAIN], packages: /^zod$/, node: /^node:crypto$/ },
]

function isAllowed(layer: Layer, { to, kind, typeOnly }: Import): boolean {
  if (isNode(to)) return layer.node?.test(to) ?? false
  if (!OURS.test(to)) return layer.packages?.test(packageOf(to)) ?? false
  const rules = [
    ...layer.ours,
    ...(typeOnly ? (layer.types ?? []) : []),
    ...(kind === 'dynamic' ? (layer.lazily ?? []) : []),
  ]
  return rules.some((rule) => rule.test(to))
}

const layerOf = (file: string) => LAYERS.find((layer) => layer.files.test(file))
const offences = (imports: readonly Import[]) =>
  imports
    .filter((one) => !isAllowed(layerOf(one.from) ?? { files: /^/, ours: [] }, one))
    .map(
      ({ from, to, kind, typeOnly }) =>
        `${from} → ${to}${kind === 'dynamic' ? ' (lazily)' : ''}${typeOnly ? ' (type)' : ''}`,
    )

/** The first cycle that is reachable from each start; each file is visited once. */
function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file)
    if (at >= 0) cycles.push([...path.slice(at), file].join(' → '))
    if (at >= 0 || done.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return cycles
}

describe('imports', () => {
  const files = ['src', 'lambda', 'sandbox'].flatMap(sourcesBelow)
  const imports = files.flatMap((file) => importsOf(file))

  it('finds every kind of import', () => {
    const text = `
      import './a.js'
      import type { B } from './b.js'
      import { type C } from './c.js'
      import { type D, d } from './d.js'
      export * from './e.js'
      export type { F } from './f.js'
      const g = await import('./g.js')
      const h = require('node:fs')
      type I = import('./i.js').I
      // import './comment.js'
      const text = "import './text.js'"`
    const read = importsOf('src/lib/x.ts', text).map(({ to, kind, typeOnly }) => `${to} ${kind} ${typeOnly}`)
    expect(read).to.deep.equal([
      'src/lib/a.ts static false',
      'src/lib/b.ts static true',
      'src/lib/c.ts static true',
      'src/lib/d.ts static false',
      'src/lib/e.ts static false',
      'src/lib/f.ts static true',
      'src/lib/g.ts dynamic false',
      'node:fs dynamic false',
      'src/lib/i.ts static true',
    ])
  })

  it('refuses imports that are not allowed', () => {
    for (const [file, line] of [
      ['src/lib/domain/x.ts', "import 'node:fs'"],
      ['src/lib/domain/x.ts', "import '../ops/ports.js'"],
      ['src/lib/domain/x.ts', "import '@oclif/core'"],
      ['src/lib/ops/x.ts', "import type { A } from '../adapters/tofu.js'"],
      ['src/lib/ops/x.ts', "const a = await import('@aws-sdk/client-ec2')"],
      ['src/lib/adapters/x.ts', "import { a } from '../ops/deploys.js'"],
      ['src/lib/adapters/x.ts', "import { spawn } from 'node:child_process'"],
      ['src/lib/cli/x.ts', "import { a } from '../adapters/settings.js'"],
      ['src/lib/cli/x.ts', "import 'listr2'"],
      ['sandbox/x.ts', "import '../src/lib/adapters/github/runs.js'"],
      ['src/commands/fleet/x.ts', "await import('../../../sandbox/index.js')"],
      ['src/commands/fleet/x.ts', "import '../../lib/adapters/clock.js'"],
      ['src/commands/fleet/x.ts', "import 'execa'"],
      ['lambda/x.ts', "import '../src/lib/cli/text.js'"],
      ['lambda/x.ts', "import '../sandbox/http.js'"],
      ['lambda/x.ts', "import '@oclif/core/command'"],
      ['lambda/routes.ts', "import '../src/lib/adapters/github.js'"],
    ] as const) {
      expect(offences(importsOf(file, line)), `${file}: ${line}`).to.have.length(1)
    }
  })

  it('follow the direction of the design', () => {
    expect(files.filter((file) => !layerOf(file))).to.deep.equal([])
    expect(offences(imports)).to.deep.equal([])
  })

  it('use every package under dependencies of package.json, and no other', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { dependencies: object }
    const used = imports.filter(({ to, typeOnly }) => !typeOnly && !isNode(to) && !OURS.test(to))
    // esbuild puts it in the place of an SDK's own package: scripts/build/lambda-credentials.mjs.
    const bundled = ['@aws-sdk/credential-provider-env']
    const packages = new Set([...used.map(({ to }) => packageOf(to)), ...bundled])
    expect(Object.keys(dependencies)).to.have.members([...packages])
  })

  it('refer to existing files', () => {
    const ours = imports.filter(({ to }) => OURS.test(to))
    expect(ours.filter(({ to }) => !files.includes(to)).map(({ from, to }) => `${from} → ${to}`)).to.deep.equal([])
  })

  it('have no cycle at run time', () => {
    const graph = (kept: readonly Import[]) =>
      new Map(files.map((file) => [file, kept.filter(({ from }) => from === file).map(({ to }) => to)]))
    expect(
      cyclesOf(
        new Map([
          ['a', ['b']],
          ['b', ['c', 'd']],
          ['d', ['b']],
        ]),
      ),
    ).to.deep.equal(['b → d → b'])
    const running = imports.filter((one) => !one.typeOnly && one.kind === 'static')
    expect(cyclesOf(graph(running))).to.deep.equal([])
  })
})
