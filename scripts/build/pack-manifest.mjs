import { readFile, rename, writeFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'

const FILE = 'package.json'
/** Where the checkout's own manifest lies while `npm pack` reads the one that ships. */
const KEPT = 'package.json.kept'

/** What ships has its packages inside, bundled by esbuild: npm must neither fetch nor check any. */
export function packedManifest({ dependencies: _, devDependencies: __, overrides: ___, allowScripts: ____, ...rest }) {
  return rest
}

/** Run by prepack. npm reads package.json after it. */
async function pack() {
  const text = await readFile(FILE, 'utf8')
  await writeFile(KEPT, text)
  await writeFile(FILE, `${JSON.stringify(packedManifest(JSON.parse(text)), null, 2)}\n`)
}

/** Run by postpack, and before each build: a pack that was killed leaves the checkout without its packages. */
export async function restoreManifest() {
  const kept = await readFile(KEPT, 'utf8').catch(() => null)
  if (kept === null) return
  const isPacked = !('dependencies' in JSON.parse(await readFile(FILE, 'utf8')))
  if (isPacked) await rename(KEPT, FILE)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await (process.argv[2] === 'restore' ? restoreManifest() : pack())
}
