import pMap from 'p-map'
import { REQUIRED_REPOS } from '../../domain/bundles/layout.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import type { StoredRepo } from './look.js'
import type { PackedSeed, SeedSource } from './ports.js'

/** A repository at the commit that the bundles will have. */
export interface ReadySeed extends Omit<PackedSeed, 'file'> {
  name: string
  url: string | null
  branch: string
  /** Path of its archive on this machine; packed on demand if a bundle has it already. */
  pack(): Promise<PackedSeed>
}

/** Clones wait for the network, packing for a processor. */
const REPOS_AT_ONCE = 4

/**
 * Each repository at its commit: the archive of a bundle in place that has that commit, else a new one.
 * @throws ClawctlError UPSTREAM or INVALID_REQUEST naming every repository that failed, after trying all
 */
export async function readySeeds(
  sources: readonly SeedSource[],
  stored: readonly StoredRepo[],
  say: (text: string) => void,
): Promise<ReadySeed[]> {
  const absent = REQUIRED_REPOS.filter((name) => !sources.some((source) => source.name === name))
  if (absent.length > 0) {
    throw new ClawctlError('INVALID_REQUEST', `The repository ${absent.join(', ')} is required but not listed.`, {
      hint: 'Add it to clawdinator/repos.tsv, or put a clone of that name into --repo-seeds-dir.',
    })
  }
  const failed: { name: string; error: ClawctlError }[] = []
  const ready = await pMap(
    sources,
    async (source): Promise<ReadySeed | null> => {
      try {
        const commit = await source.commit()
        const known = stored.find(
          ({ object: one }) =>
            one.name === source.name && one.commit === commit && one.url === source.url && one.branch === source.branch,
        )?.object
        // The branch may have moved since it was read: report the commit that was packed.
        const made = known ?? (await source.pack())
        say(`${source.name} ${made.commit.slice(0, 12)}${known ? ', already in a bundle' : ''}`)
        const { name, url, branch } = source
        return {
          ...{ name, url, branch, pack: () => source.pack() },
          ...{ commit: made.commit, size: made.size, sha256: made.sha256 },
        }
      } catch (error) {
        failed.push({ name: source.name, error: asClawctlError(error) })
        return null
      }
    },
    { concurrency: REPOS_AT_ONCE },
  )
  const [first] = failed
  if (!first) return ready.filter((seed) => seed !== null)
  const names = failed.map(({ name }) => name).sort()
  throw new ClawctlError(
    first.error.code,
    failed.length === 1
      ? first.error.message
      : `${failed.length} repositories could not be packed: ${names.join(', ')}.`,
    {
      hint: first.error.hint ?? 'Nothing was uploaded. Check URL, branch and GITHUB_TOKEN, then run it again.',
      details: failed.length === 1 ? first.error.details : failed.map(({ error }) => error.message),
      partial: { repositories: failed.map(({ name, error }) => ({ name, error: error.message })) },
      cause: first.error,
    },
  )
}
