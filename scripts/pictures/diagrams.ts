import { readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { renderMermaidSVG } from 'beautiful-mermaid'

/** GitHub's own colours, so that a diagram fits the page. */
export const THEMES = {
  light: { bg: '#ffffff', fg: '#1f2328', accent: '#b42318', muted: '#59636e' },
  dark: { bg: '#0d1117', fg: '#e6edf3', accent: '#ff7b72', muted: '#9198a1' },
} as const

/**
 * Renders every `*.mmd` of `sources` to `<name>-light.svg` and `<name>-dark.svg` in `target`.
 * @returns the paths that were written
 */
export async function renderDiagrams(sources: string, target: string): Promise<string[]> {
  const names = (await readdir(sources)).filter((file) => file.endsWith('.mmd')).sort()
  const written: string[] = []
  for (const file of names) {
    const text = await readFile(join(sources, file), 'utf8')
    for (const [theme, colours] of Object.entries(THEMES)) {
      const path = join(target, `${basename(file, '.mmd')}-${theme}.svg`)
      await writeFile(path, diagram(text, colours))
      written.push(path)
    }
  }
  return written
}

/** One diagram as SVG that loads nothing: the library's own links a web font. */
export function diagram(text: string, colours: (typeof THEMES)[keyof typeof THEMES]): string {
  const svg = renderMermaidSVG(text, { ...colours, font: 'system-ui' })
  const plain = svg
    .replace(/^\s*@import url\([^)]*\);\n/m, '')
    .replaceAll(
      /font-family: [^;]*;/g,
      "font-family: -apple-system, 'Segoe UI', Helvetica, Arial, 'Liberation Sans', sans-serif;",
    )
  const title = /^%%\s*title:\s*(.+)$/m.exec(text)?.[1] ?? 'diagram'
  return `${plain.replace(/(<svg[^>]*>)/, `$1\n<title>${title}</title>`).trim()}\n`
}
