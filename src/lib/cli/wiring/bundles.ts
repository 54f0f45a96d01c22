import { join } from 'node:path'
import { ageIdentities, ageKeys } from '../../adapters/bundles/ageIdentities.js'
import { createBundleStore } from '../../adapters/bundles/bundleStore.js'
import { secretsFolder } from '../../adapters/bundles/secretsFolder.js'
import { createGit } from '../../adapters/bundles/seeds/git.js'
import { seedInspector } from '../../adapters/bundles/seeds/inspect.js'
import { folderSeeds, listedSeeds } from '../../adapters/bundles/seeds/sources.js'
import { scratchFolder } from '../../adapters/scratch.js'
import { directSettings, type Env, secretsDir, uploadSettings } from '../../adapters/settings.js'
import { SEEDS_PATH } from '../../domain/bundles/seeds.js'
import { ClawctlError } from '../../domain/errors.js'
import { checkSecrets } from '../../ops/bundles/checkSecrets.js'
import type { BundleDownloads, BundleStore, SecretsFolder, Seeds } from '../../ops/bundles/ports.js'
import { type Rekeyed, renewIdentities } from '../../ops/bundles/rekey.js'
import { type UploadResult, uploadBundles } from '../../ops/bundles/upload.js'
import { verifyBundles } from '../../ops/bundles/verify.js'
import type { Clock, Progress, RegistrySource } from '../../ops/ports.js'

/** Options of the commands, by their names. */
export interface BundleFlags {
  'secrets-dir'?: string | undefined
  identity?: string | undefined
  'identities-dir'?: string | undefined
  'kms-key'?: string | undefined
  repos?: string | undefined
  'repo-seeds-dir'?: string | undefined
  'extra-secret'?: string[] | undefined
  'dry-run'?: boolean
  deep?: boolean
}

export interface BundleSurroundings {
  env: Env
  checkout: string | null
  registry: RegistrySource
  clock: Clock
  progress: Progress
  userAgent: string
}

/** The use-cases about bundles with their adapters, each made when it is first asked for. */
export interface BundleWiring {
  upload(target: string): Promise<UploadResult>
  verify(target: string): ReturnType<typeof verifyBundles>
  checkSecrets(): ReturnType<typeof checkSecrets>
  renewIdentities(target: string, options: { rotate: boolean }): Promise<Rekeyed>
  /** @throws ClawctlError NOT_CONFIGURED */
  store(): BundleStore & BundleDownloads
}

export function bundleWiring(around: BundleSurroundings, flags: BundleFlags): BundleWiring {
  const { env, checkout, registry, clock, progress } = around
  const settings = uploadSettings(env)
  let folder: string | undefined
  const scratch = () => {
    if (folder === undefined) {
      folder = scratchFolder('clawctl-bundle-', env)
      // A signal alone would leave the clones behind.
      process.once('SIGINT', () => process.exit(130)).once('SIGTERM', () => process.exit(143))
    }
    return folder
  }
  const git = () => createGit(env, settings.githubToken)
  const store = () => createBundleStore({ ...directSettings(env), folder: scratch })
  const identities = ageIdentities({ file: flags.identity, folder: flags['identities-dir'] })
  const extra = flags['extra-secret'] ?? []

  const secrets = (): SecretsFolder => {
    const named = secretsDir(env, flags['secrets-dir'])
    if (named !== null) return secretsFolder(named)
    throw new ClawctlError('USAGE', 'The secrets directory is not named.', {
      hint: 'Give the checkout of nix-secrets with --secrets-dir, or set CLAWCTL_SECRETS_DIR.',
    })
  }
  const seeds = (): Seeds => {
    const options = { git: git(), scratch }
    const clones = flags['repo-seeds-dir']
    if (clones !== undefined) return folderSeeds(clones, options)
    const list = flags.repos ?? (checkout === null ? undefined : join(checkout, SEEDS_PATH))
    if (list !== undefined) return listedSeeds(list, options)
    throw new ClawctlError('USAGE', `There is no ${SEEDS_PATH} here or above.`, {
      hint: 'Run the command in a checkout of the fleet, or give --repos or --repo-seeds-dir.',
    })
  }

  return {
    store,
    upload: (target) =>
      uploadBundles(
        {
          target,
          extra,
          kmsKey: flags['kms-key'] ?? settings.kmsKey,
          dryRun: flags['dry-run'] ?? false,
          revision: settings.revision,
          by: around.userAgent,
        },
        { registry, store: store(), secrets: secrets(), identities, seeds: seeds(), clock, progress },
      ),
    verify(target) {
      const downloads = store()
      const identityOf = async (id: string) => (await identities.of(id)) ?? identities.shared()
      const depth = flags.deep
        ? {
            kind: 'deep' as const,
            identityOf,
            parse: identities.parse,
            downloads,
            inspector: seedInspector(git(), scratch),
          }
        : { kind: 'full' as const }
      return verifyBundles({ target, depth }, { registry, store: downloads, progress })
    },
    renewIdentities: (target, { rotate }) =>
      renewIdentities({ target, rotate }, { registry, secrets: secrets(), identities, keys: ageKeys }),
    checkSecrets: () => checkSecrets(extra, { registry, secrets: secrets(), identities }),
  }
}
