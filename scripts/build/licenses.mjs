import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

const FOLDER = /^((?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+)\//
const LICENSE_FILE = /^(?:licen[cs]e|notice|copying)/i
/** Licences without a holder in their text: a package that does not ship the text gets another package's copy. */
const SAME_FOR_ALL = new Set(['Apache-2.0'])

/**
 * The notice for the bundled npm packages: their names and licence texts. Packages with the same text share one copy
 * of it.
 * @param metafile of an esbuild build
 * @throws Error if a package has no licence text: such a bundle must not be published
 */
export async function thirdPartyLicenses(metafile) {
  const folders = new Set()
  for (const { inputs } of Object.values(metafile.outputs)) {
    for (const [file, { bytesInOutput }] of Object.entries(inputs)) {
      const folder = FOLDER.exec(file)?.[1]
      if (folder !== undefined && bytesInOutput > 0) folders.add(folder)
    }
  }
  const packages = await Promise.all([...folders].map(readPackage))
  packages.sort((a, b) => (a.title < b.title ? -1 : 1))
  const byText = new Map()
  for (const { title, license, text } of packages) {
    const whole =
      text ?? packages.find((other) => other.license === license && SAME_FOR_ALL.has(license) && other.text)?.text
    if (!whole) throw new Error(`${title} (${license}) is bundled and has no licence text`)
    byText.set(whole, [...(byText.get(whole) ?? []), `${title} (${license})`])
  }
  const parts = [...byText].map(([text, titles]) => `${titles.join('\n')}\n\n${text.trim()}\n`)
  return `This program contains the packages below, under their own licences.\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`
}

async function readPackage(folder) {
  const { name, version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  const files = (await readdir(folder)).filter((file) => LICENSE_FILE.test(file)).sort()
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))
  return {
    title: `${name}@${version}`,
    license,
    text: texts.length > 0 ? texts.map((text) => text.trim()).join('\n\n') : null,
  }
}
