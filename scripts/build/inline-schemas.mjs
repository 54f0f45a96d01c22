import { readFile } from 'node:fs/promises'

const CONSTANT = /^const (_[A-Za-z0-9]+) = ("(?:[^"\\]|\\.)*");$/gm
const STRING_OR_NAME = /"(?:[^"\\]|\\.)*"|\b_[A-Za-z0-9]+\b/g

/**
 * The AWS SDK keeps all shapes of a service in one schema file of arrays that refer to string constants. esbuild keeps
 * every array that refers to a variable, so a bundle with one EC2 command would contain all of EC2. With the constants
 * inlined, unused shapes are removed: 0.3 MB instead of 1.4.
 */
export const inlineSchemas = {
  name: 'inline-aws-schemas',
  setup(build) {
    build.onLoad({ filter: /[\\/]schemas[\\/]schemas_\d+\.js$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8')
      const constants = new Map([...source.matchAll(CONSTANT)].map(([, name, value]) => [name, value]))
      const body = source.replace(CONSTANT, '')
      return { contents: body.replace(STRING_OR_NAME, (token) => constants.get(token) ?? token), loader: 'js' }
    })
  },
}
