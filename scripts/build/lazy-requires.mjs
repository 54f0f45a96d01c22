import { readFile } from 'node:fs/promises'

/** Packages that oclif loads at each start and uses only without a manifest, for spinners, or for help. */
const LAZY = [
  'ansi-escapes',
  'ansis',
  'clean-stack',
  'cli-spinners',
  'ejs',
  'indent-string',
  'lilconfig',
  'minimatch',
  'node:child_process',
  'node:crypto',
  'node:perf_hooks',
  'node:readline',
  'node:readline/promises',
  'string-width',
  'supports-color',
  'tinyglobby',
  'widest-line',
  'wrap-ansi',
]
const REQUIRE = new RegExp(
  `^const (\\w+) = ((?:__import(?:Default|Star)\\()?require\\("(?:${LAZY.join('|')})"\\)\\)?);$`,
  'gm',
)

/** Delays these requires until their first use, which saves a fifth of the start-up of `clawctl fleet status`. */
export const lazyRequires = {
  name: 'lazy-requires',
  setup(build) {
    build.onLoad({ filter: /[\\/]@oclif[\\/]core[\\/]lib[\\/].*\.js$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8')
      const contents = source
        .replace(
          REQUIRE,
          (_, name, load) =>
            `let ${name}$loaded; const ${name} = new Proxy(function () {}, { get: (_, key) => (${name}$loaded ??= ${load})[key], apply: (_, self, args) => (${name}$loaded ??= ${load}).apply(self, args) });`,
        )
        // Our replacement of it is two lines, not worth a file of its own.
        .replaceAll("await import('wsl-utils')", "require('wsl-utils')")
      return { contents, loader: 'js' }
    })
  },
}
