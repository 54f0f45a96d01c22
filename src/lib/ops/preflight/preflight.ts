import { CONTROL_TOKEN_SECRET } from '../../domain/bundles/secrets.js'
import type { Check, Fleet } from '../../domain/contract/index.js'
import { asClawctlError, ClawctlError } from '../../domain/errors.js'
import { groupChecks, type PreflightCheck, type PreflightVerdict, verdictOf } from '../../domain/preflight/checks.js'
import {
  compareRegistries,
  fail,
  judgeLocalRegistry,
  judgeSecretsFolder,
  pass,
  skip,
} from '../../domain/preflight/local.js'
import { checkRegistry, type Registry } from '../../domain/registry/registry.js'
import { secretProblem } from '../bundles/gather.js'
import type { SecretsFolder, SecretsListing } from '../bundles/ports.js'
import type { RegistrySource } from '../ports.js'
import type { Checkout } from '../registry/ports.js'

export interface PreflightPorts {
  /** The source of the URL. @throws ClawctlError NOT_CONFIGURED */
  url(): { url: string; from: string }
  /** The source of the token; never the token. @throws ClawctlError NOT_CONFIGURED */
  token(): Promise<{ from: string }>
  /** The server's checks: from the Control API, or in CI made here. */
  server(): Promise<Check[]>
  /** The deployed registry and the running fleet; null in CI, whose checkout is the deployed one. */
  fleet: (() => Promise<Fleet>) | null
  /** Whether the Control API is used. CI has no control token and does not use it. */
  throughApi: boolean
  registry: RegistrySource
  checkout: Pick<Checkout, 'hostFiles'>
  secrets: SecretsFolder | null
}

export interface Preflight extends PreflightVerdict {
  checks: PreflightCheck[]
}

/** Why the server's checks are missing. */
function unseenBecause(throughApi: boolean, error: ClawctlError | null): string {
  if (!throughApi) return 'Not checked.'
  if (error === null) return 'Only the Control API can check this, and it was not used.'
  const why = error.code === 'UNAUTHORIZED' ? 'it refused the token' : 'it did not answer'
  return `Only the Control API can check this, and ${why}.`
}

/** Runs all of the runbook's checks, even if some fail. Changes nothing, prints no secret, never rejects. */
export async function preflight(ports: PreflightPorts): Promise<Preflight> {
  const [api, local, secrets] = await Promise.all([askServer(ports), lookAtCheckout(ports), lookAtSecrets(ports)])
  const compared = local.registry && api.fleet ? [compareRegistries(local.registry, api.fleet)] : []
  const checks = groupChecks(
    [...api.checks, ...local.checks, ...compared, ...secrets],
    unseenBecause(ports.throughApi, api.error),
  )
  return { ...verdictOf(checks), checks }
}

/** @throws ClawctlError PREFLIGHT_FAILED with every check in `partial`, if any failed */
export function requirePassed(flight: Preflight): void {
  if (flight.ready) return
  throw new ClawctlError('PREFLIGHT_FAILED', 'A preflight check failed.', {
    hint: 'Follow the advice below each failed check, then run `clawctl preflight` again.',
    details: flight.checks
      .filter(({ status }) => status === 'fail')
      .map(({ title, evidence }) => `${title}: ${evidence}`),
    partial: { preflight: flight },
  })
}

interface Asked {
  checks: Check[]
  fleet: Fleet | null
  error: ClawctlError | null
}

async function askServer(ports: PreflightPorts): Promise<Asked> {
  const known = await Promise.all([
    settingCheck('control-api-url', 'The URL of the Control API is known', () => {
      const { url, from } = ports.url()
      return `${url} (${from}).`
    }),
    ...(ports.throughApi
      ? [
          settingCheck('token-known', 'The control token is known', async () => {
            return `It is in ${(await ports.token()).from}.`
          }),
        ]
      : []),
  ])
  if (ports.throughApi && known.some(({ status }) => status === 'fail'))
    return { checks: known, fleet: null, error: null }
  const [server, fleet] = await Promise.all([settled(ports.server()), ports.fleet ? settled(ports.fleet()) : null])
  const answers = ports.throughApi ? answerChecks(server.error) : server.error ? [brokenCheck(server.error)] : []
  return { checks: [...known, ...answers, ...(server.value ?? [])], fleet: fleet?.value ?? null, error: server.error }
}

/** Whether it answered, and whether it accepted the token. */
function answerChecks(error: ClawctlError | null): Check[] {
  const [answers, accepted] = ['The Control API answers', 'The control token is accepted']
  if (error === null)
    return [
      pass('control-api-answers', answers, 'It answers.'),
      pass('token-accepted', accepted, 'The server accepts it.'),
    ]
  const { message, hint = 'Try again. If it fails again, check the Lambda and its log.' } = error
  if (error.code === 'UNAUTHORIZED') {
    return [pass('control-api-answers', answers, 'It answers.'), fail('token-accepted', accepted, message, hint)]
  }
  return [
    fail('control-api-answers', answers, message, hint),
    skip('token-accepted', accepted, 'The Control API did not answer.'),
  ]
}

function brokenCheck({ message, hint }: ClawctlError): Check {
  return fail('direct-plane', 'AWS and GitHub can be used', message, hint ?? 'Check the settings of the job.')
}

async function settingCheck(id: string, title: string, look: () => string | Promise<string>): Promise<Check> {
  try {
    return pass(id, title, await look())
  } catch (error) {
    const { message, hint } = asClawctlError(error)
    return fail(id, title, message, hint ?? 'Set it as README.md describes.')
  }
}

async function lookAtCheckout(ports: PreflightPorts): Promise<{ checks: Check[]; registry: Registry | null }> {
  try {
    const [{ text }, hostFiles] = await Promise.all([ports.registry.read(), ports.checkout.hostFiles()])
    const { entries, ids, problems } = checkRegistry(text)
    return {
      checks: [judgeLocalRegistry(text, hostFiles, ids.length)],
      registry: problems.length === 0 ? entries : null,
    }
  } catch (error) {
    const { message } = asClawctlError(error)
    const title = "The checkout's registry is valid"
    return { checks: [skip('local-registry', title, message)], registry: null }
  }
}

async function lookAtSecrets({ secrets, registry }: PreflightPorts): Promise<Check[]> {
  if (!secrets) return []
  const tokens = ['discord-secrets', "Every instance's Discord token is encrypted in nix-secrets"] as const
  const control = ['token-secret', 'The control token is encrypted in nix-secrets'] as const
  try {
    const own = await registry.read().then(
      ({ text }) => checkRegistry(text).entries.map((entry) => entry.discordTokenSecret),
      () => [],
    )
    const listing = await secrets.read()
    return [
      judgeSecretsFolder(...control, secrets.path, problemsOf([CONTROL_TOKEN_SECRET], listing)),
      own.length > 0
        ? judgeSecretsFolder(...tokens, secrets.path, problemsOf(own, listing))
        : skip(...tokens, 'There is no valid registry here that names them.'),
    ]
  } catch (error) {
    const { message, hint } = asClawctlError(error)
    const fix = hint ?? 'Check the path.'
    return [fail(...control, message, fix), fail(...tokens, message, fix)]
  }
}

const problemsOf = (names: readonly string[], listing: SecretsListing) =>
  new Map(names.map((name) => [name, secretProblem(listing, name)]))

async function settled<T>(work: Promise<T>): Promise<{ value: T; error: null } | { value: null; error: ClawctlError }> {
  try {
    return { value: await work, error: null }
  } catch (error) {
    return { value: null, error: asClawctlError(error) }
  }
}
