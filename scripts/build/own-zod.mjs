import { readFile } from 'node:fs/promises'

const OWN = '?own'
const ASKED = 'asked'

/**
 * A second copy of zod for what imports another face of it than `zod/mini`, which is the MCP SDK and what describes our
 * tools to it. esbuild keeps in a shared file whatever any entry uses of it: with one copy, every command would parse all
 * that `clawctl mcp` needs, which is half of zod.
 */
export const ownZod = {
  name: 'own-zod',
  setup(build) {
    build.onResolve({ filter: /^(?:zod(?:\/|$)|\.)/ }, async ({ path, pluginData, ...rest }) => {
      const isOwn = pluginData === OWN || (pluginData !== ASKED && /^zod(?!\/mini$)/.test(path))
      if (!isOwn) return
      const found = await build.resolve(path, { ...rest, pluginData: ASKED })
      return { path: found.path, sideEffects: found.sideEffects, suffix: OWN, errors: found.errors }
    })
    build.onLoad({ filter: /[\\/]node_modules[\\/]zod[\\/]/ }, async ({ path, suffix }) => {
      if (suffix === OWN) return { contents: await readFile(path, 'utf8'), loader: 'js', pluginData: OWN }
    })
  },
}
