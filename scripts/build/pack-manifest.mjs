import { readFile, rename, writeFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'

const FILE = 'package.json'
/** Copy of the checkout's manifest while `npm pack` reads the package's. */
const KEPT = 'package.json.kept'

/** The package's manifest has no dependencies but the optional one, because esbuild bundles them. */
export function packedManifest({ dependencies: _, devDependencies: __, overrides: ___, allowScripts: ____, ...rest }) {
  return rest
}

/** Run by prepack, before npm reads package.json. */
async function pack() {
  const text = await readFile(FILE, 'utf8')
  await writeFile(KEPT, text)
  await writeFile(FILE, `${JSON.stringify(packedManifest(JSON.parse(text)), null, 2)}\n`)
}

/** Run by postpack, and before each build, because a killed pack leaves the checkout without its dependencies. */
export async function restoreManifest() {
  const kept = await readFile(KEPT, 'utf8').catch(() => null)
  if (kept === null) return
  const isPacked = !('dependencies' in JSON.parse(await readFile(FILE, 'utf8')))
  if (isPacked) await rename(KEPT, FILE)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await (process.argv[2] === 'restore' ? restoreManifest() : pack())
}
