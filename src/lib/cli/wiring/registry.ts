import { secretsFolder } from '../../adapters/bundles/secretsFolder.js'
import { createControlApi } from '../../adapters/deploy/controlApi.js'
import { checkoutFiles } from '../../adapters/registry/checkout.js'
import * as settings from '../../adapters/settings.js'
import { manifestKey } from '../../domain/bundles/manifest.js'
import type { Fleet } from '../../domain/contract/index.js'
import { ClawctlError } from '../../domain/errors.js'
import type { Checkout, Repository } from '../../ops/registry/ports.js'
import type { StepPorts } from '../../ops/registry/stepFacts.js'
import type { Context } from '../context.js'

/** What remains to be done is asked in passing: nobody waits long for it. */
const ASK_MS = 3_000

export interface RegistryWiring {
  checkout: Checkout
  /** The repository on GitHub and the branch to merge into. @throws ClawctlError NOT_CONFIGURED */
  repository(): Promise<{ repository: Repository; base: string | null }>
  /** @param secretsDir --secrets-dir */
  steps(secretsDir: string | undefined): StepPorts
}

export function registryWiring(context: Context, { userAgent }: { userAgent: string }): RegistryWiring {
  const { env } = context
  return {
    checkout: checkoutFiles(context.checkout),
    async repository() {
      const { base, ...github } = settings.pullRequestSettings(env)
      const [{ createGithubRepository }, { credentialOf, tokenCredential }] = await Promise.all([
        import('../../adapters/registry/githubRepository.js'),
        import('./github.js'),
      ])
      const permissions = { contents: 'write', pull_requests: 'write' }
      const credential =
        credentialOf(env, userAgent, github.repo, permissions) ??
        tokenCredential(settings.pushToken(env, `${github.owner}/${github.repo}`))
      return { repository: createGithubRepository({ ...github, ...credential, userAgent }), base }
    },
    steps(flag) {
      const folder = settings.secretsDir(env, flag)
      const secrets = folder === null ? null : secretsFolder(folder)
      if (context.mode === 'ci') {
        return {
          secrets,
          fleet: { ask: async () => (await context.plane()).fleet(), ofBranch: false },
          hasBundle: async (entry) => (await (await context.store()).get(manifestKey(entry))) !== null,
        }
      }
      return { secrets, fleet: deployedFleet(), hasBundle: null }
    },
  }

  /** Null where no Control API is configured: the registry is edited without any credential, too. */
  function deployedFleet(): StepPorts['fleet'] {
    try {
      const api = createControlApi({ ...context.controlApi, userAgent, timeoutMs: ASK_MS })
      let answer: Promise<Fleet> | undefined
      const ask = () => {
        answer ??= api.fleet()
        return answer
      }
      return { ask, ofBranch: true }
    } catch (error) {
      if (error instanceof ClawctlError && error.code === 'NOT_CONFIGURED') return null
      throw error
    }
  }
}
