import { zipSync } from 'fflate'

/**
 * The zip that the platform stack uploads: the handler and the licences of its packages. It is reproducible: all files
 * have the same time, without a time zone, because the format has none, and the same mode, which Lambda can read.
 */
export function zipLambda(handler, notice) {
  const options = { mtime: new Date(1980, 0, 1), os: 3, attrs: 0o100644 << 16, level: 9 }
  return zipSync({ 'index.mjs': [handler, options], THIRD_PARTY_LICENSES: [new TextEncoder().encode(notice), options] })
}
