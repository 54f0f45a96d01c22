import { zipSync } from 'fflate'

/**
 * What the platform stack uploads: the handler and the licences of what it bundles. The same input gives the same
 * bytes anywhere: one time for every build, of the calendar and not of a zone, which the format does not know; one
 * mode, readable for Lambda.
 */
export function zipLambda(handler, notice) {
  const options = { mtime: new Date(1980, 0, 1), os: 3, attrs: 0o100644 << 16, level: 9 }
  return zipSync({ 'index.mjs': [handler, options], THIRD_PARTY_LICENSES: [new TextEncoder().encode(notice), options] })
}
