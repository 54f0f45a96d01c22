import { secretsFolder } from '../../adapters/bundles/secretsFolder.js'
import { createControlApi } from '../../adapters/deploy/controlApi.js'
import { checkoutFiles } from '../../adapters/registry/checkout.js'
import * as settings from '../../adapters/settings.js'
import type { PreflightPorts } from '../../ops/preflight/preflight.js'
import type { Context } from '../context.js'

/** @param flags --control-api-url and --secrets-dir */
export function preflightWiring(
  context: Context,
  flags: { controlApiUrl: string | undefined; secretsDir: string | undefined },
  { userAgent }: { userAgent: string },
): PreflightPorts {
  const { env } = context
  const folder = settings.secretsDir(env, flags.secretsDir)
  const throughApi = context.mode === 'agent'
  const api = () => createControlApi({ ...context.controlApi, userAgent })
  return {
    url: () => settings.controlApiUrl(env, flags.controlApiUrl),
    token: () => ({ from: settings.controlToken(env).from }),
    // Each call fails as a promise, whatever is missing for it.
    server: async () => (throughApi ? api().preflight() : direct()),
    fleet: throughApi ? async () => api().fleet() : null,
    throughApi,
    registry: context.registry,
    checkout: checkoutFiles(context.checkout),
    secrets: folder === null ? null : secretsFolder(folder),
  }

  async function direct() {
    const { serverPreflight } = await import('../../ops/preflight/serverPreflight.js')
    const [{ inspection }, compute, store] = await Promise.all([context.github(), context.compute(), context.store()])
    const { registry, clock } = context
    return serverPreflight({ github: inspection, registry, compute, store, clock, controlTokens: null })
  }
}
