import { readFile } from 'node:fs/promises'

const OWN = '?own'
const ASKED = 'asked'

/**
 * A second copy of zod for modules that import another entry of it than `zod/mini`: the MCP SDK, and our description
 * of the tools for it. esbuild keeps every part of a shared module that any entry uses. With one copy, each command
 * would parse the half of zod that only `clawctl mcp` needs.
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
