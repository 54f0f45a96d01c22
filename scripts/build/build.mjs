import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inlineSchemas } from './inline-schemas.mjs'
import { lazyRequires } from './lazy-requires.mjs'
import { thirdPartyLicenses } from './licenses.mjs'
import { ownZod } from './own-zod.mjs'
import { restoreManifest } from './pack-manifest.mjs'
import { sharedChunks } from './shared-chunks.mjs'
import { usedEndpoints } from './used-endpoints.mjs'

const { build } = await import('esbuild').catch((error) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
  process.stderr.write('The packages of the checkout are not installed: run `npm ci` first.\n')
  process.exit(1)
})
const { zipLambda } = await import('./zip-lambda.mjs')

const root = fileURLToPath(new URL('../..', import.meta.url))
process.chdir(root)
await restoreManifest()
const { version } = JSON.parse(await readFile('package.json', 'utf8'))

const REQUIRE =
  "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);"

const absent = Object.fromEntries(
  ['cli-spinners', 'lilconfig', 'minimatch', 'tinyglobby'].map((name) => [name, './scripts/build/absent.mjs']),
)

// oclif's dev mode would load TypeScript, which the package does not contain.
const common = {
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  mainFields: ['module', 'main'],
  plugins: [inlineSchemas, lazyRequires, usedEndpoints],
  external: ['typescript'],
  legalComments: 'none',
  logLevel: 'warning',
  define: {
    'process.env.CLAWCTL_BUILD_VERSION': JSON.stringify(version),
    // write-file-atomic uses it for the names of temporary files.
    __filename: 'import.meta.filename',
  },
  // Bundled CommonJS packages require modules of Node.
  banner: { js: REQUIRE },
}

// `clawctl image build` writes its image to dist/, which takes hours: other files in dist/ are kept. After a killed build they
// are restored first.
const OURS = new Set([
  'THIRD_PARTY_LICENSES',
  'chunks',
  'commandNotFound.js',
  'commands',
  'help.js',
  'lambda',
  'lambda.zip',
  'main.js',
  'sandbox',
])
await rescue('dist.old', 'dist')
await rescue('dist.next', 'dist')

// Built in another folder and renamed, so that a running clawctl keeps its files.
await rm('dist.next', { recursive: true, force: true })
const sources = await readdir('src/commands', { recursive: true })
const commands = sources
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ in: join('src/commands', file), out: join('commands', file.replace(/\.ts$/, '')) }))

const [cli, lambda] = await Promise.all([
  build({
    ...common,
    plugins: [...common.plugins, sharedChunks, ownZod],
    entryPoints: [
      { in: 'src/main.ts', out: 'main' },
      { in: 'src/help.ts', out: 'help' },
      { in: 'src/commandNotFound.ts', out: 'commandNotFound' },
      { in: 'sandbox/tofu/main.ts', out: 'sandbox/tofu' },
      ...commands,
    ],
    outdir: 'dist.next',
    splitting: true,
    metafile: true,
    alias: { 'wsl-utils': './scripts/build/wsl-lite.mjs', debug: './scripts/build/debug-lite.mjs', ...absent },
    // Not names, so that stack traces stay readable.
    minifySyntax: true,
    minifyWhitespace: true,
    chunkNames: 'chunks/[name]-[hash]',
  }),
  build({
    ...common,
    entryPoints: ['lambda/index.ts'],
    outfile: 'dist.next/lambda/index.mjs',
    // Lambda's credentials are variables. The other providers (SSO, profiles, STS, metadata) would be a fifth of the bundle.
    alias: { '@aws-sdk/credential-provider-node': './scripts/build/lambda-credentials.mjs' },
    minify: true,
    metafile: true,
  }),
])
await dropIdleBanners('dist.next')
const [cliNotice, lambdaNotice] = await Promise.all([cli.metafile, lambda.metafile].map(thirdPartyLicenses))
await writeFile('dist.next/THIRD_PARTY_LICENSES', cliNotice)
await writeFile('dist.next/lambda.zip', zipLambda(await readFile('dist.next/lambda/index.mjs'), lambdaNotice))
await rm('dist.old', { recursive: true, force: true })
await rename('dist', 'dist.old').catch(() => {})
await rename('dist.next', 'dist')
await rescue('dist.old', 'dist')
await rm('dist.old', { recursive: true, force: true })
if (process.env.BUILD_METAFILE) await writeFile(process.env.BUILD_METAFILE, JSON.stringify(lambda.metafile))
await writeManifest()

/** Moves files that the build did not create, without overwriting any. */
async function rescue(from, to) {
  const foreign = (await readdir(from).catch(() => [])).filter((name) => !OURS.has(name))
  if (foreign.length === 0) return
  await mkdir(to, { recursive: true })
  const there = new Set(await readdir(to))
  for (const name of foreign.filter((one) => !there.has(one))) await rename(join(from, name), join(to, name))
}

/** Most chunks need no `require`, and creating one takes half a millisecond for each chunk. */
async function dropIdleBanners(folder) {
  for (const file of (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.js'))) {
    const source = await readFile(join(folder, file), 'utf8')
    const body = source.replace(REQUIRE, '')
    if (body !== source && !/(?<![\w$])require(?![\w$])/.test(body)) await writeFile(join(folder, file), body)
  }
}

/** oclif reads the commands' flags from it instead of loading every command. */
async function writeManifest() {
  const { Plugin } = await import('@oclif/core/config')
  const plugin = new Plugin({
    root,
    type: 'core',
    ignoreManifest: true,
    errorOnManifestCreate: true,
    respectNoCacheDefault: true,
  })
  await plugin.load()
  // oclif lists commands in the order of their loading, but releases must be reproducible.
  const commands = Object.fromEntries(Object.entries(plugin.manifest.commands).sort(([a], [b]) => (a < b ? -1 : 1)))
  await writeFile('oclif.manifest.json.next', `${JSON.stringify({ ...plugin.manifest, commands })}\n`)
  await rename('oclif.manifest.json.next', 'oclif.manifest.json')
}
