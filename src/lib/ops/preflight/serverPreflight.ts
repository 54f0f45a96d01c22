import ms from 'ms'
import { namesSecret } from '../../domain/bundles/manifest.js'
import { CONTROL_TOKEN } from '../../domain/bundles/secrets.js'
import type { Check, FleetInstance } from '../../domain/contract/index.js'
import { describeFleet } from '../../domain/deploy/fleet.js'
import { describeFreeze } from '../../domain/deploy/freeze.js'
import { latestOf } from '../../domain/deploy/image.js'
import { asClawctlError, CODES } from '../../domain/errors.js'
import { count, MAX_NAMED, named } from '../../domain/preflight/local.js'
import { missingInputs } from '../../domain/preflight/workflowInputs.js'
import type { Registry } from '../../domain/registry/registry.js'
import { inspectBundles } from '../bundles/checkBundles.js'
import { readHeartbeats } from '../deploy/fleetStatus.js'
import { readFreezes } from '../deploy/freeze.js'
import { readRegistry } from '../registry/readRegistry.js'
import type { GithubRepositoryView, ServerPreflightPorts } from './ports.js'

type Finding = Pick<Check, 'status' | 'evidence' | 'fix'>

const pass = (evidence: string, fix: string | null = null): Finding => ({ status: 'pass', evidence, fix })
const fail = (evidence: string, fix: string): Finding => ({ status: 'fail', evidence, fix })
const skip = (evidence: string, fix: string | null = null): Finding => ({ status: 'skip', evidence, fix })

/** A credential that expires within a week is reported. */
const EXPIRES_SOON_MS = 7 * 24 * 3_600_000

/**
 * The server's checks before a flight. They run concurrently and fail independently. Nothing is changed, and
 * no deploy is dispatched. Never rejects.
 */
export async function serverPreflight(ports: ServerPreflightPorts): Promise<Check[]> {
  const once = shared(ports)
  const check = async (id: string, title: string, look: () => Promise<Finding> | Finding): Promise<Check> => {
    try {
      return { id, title, ...(await look()) }
    } catch (error) {
      const { code, message, hint } = asClawctlError(error)
      const evidence = code === 'INTERNAL' ? 'The check itself failed.' : message
      return { id, title, ...fail(evidence, hint ?? CODES[code].next) }
    }
  }
  return Promise.all([
    check('github-token', 'The GitHub credential works', async () => credential(await once.repository(), ports)),
    check('github-dispatch', 'The GitHub credential may start the workflow', async () =>
      mayDispatch(await once.repository()),
    ),
    check('workflow', 'The deploy workflow exists and is active', () => workflow(ports)),
    check('registry', 'The registry at the deployed ref is valid', async () => {
      const { length } = await once.registry()
      return length > 0
        ? pass(`${count(length, 'instance')}.`)
        : fail('It names no instance.', 'Add one to nix/instances.json.')
    }),
    check('ec2', 'EC2 may be described', async () =>
      pass(`${count((await once.hosts()).length, 'host')} of the fleet.`),
    ),
    check('latest-ami', 'There is an image to deploy', async () => {
      const image = latestOf(await once.images())
      if (!image) return fail('No available AMI is tagged clawdinator=true.', 'Build and import an image.')
      if (image.failedIn) {
        const good = latestOf(await once.images(), { good: true })
        const back = good ? ` The last good one is ${good.id}.` : ''
        return fail(`${image.id} (${image.name}) failed in the deploy ${image.failedIn}.${back}`, 'Build a new image.')
      }
      const age = ports.clock.now().getTime() - Date.parse(image.createdAt)
      return pass(`${image.id} (${image.name})${age >= 0 ? `, ${ms(age, { long: true })} old` : ''}.`)
    }),
    check('bundles', "Every instance's bootstrap bundle is complete", () => bundles(once)),
    check('token-bundles', 'The control token is in the bundles', () => tokenInBundles(once)),
    check('fleet', 'The fleet can be described', () => fleet(ports, once)),
    check('control-token', 'The control tokens are set up', () => controlTokens(ports)),
    check('own-tokens', 'Every instance has its own control token', async () =>
      ownTokens(ports, await once.registry()),
    ),
    check('freeze', 'Freezes', () => frozen(ports)),
    check('control-secrets', 'The Control API uses the newest secrets', () => controlSecrets(ports)),
    check('credentials-apart', 'Hosts and the Control API use different GitHub Apps', () =>
      credentialsApart(ports, once),
    ),
  ])
}

/** Shared facts of several checks, each read once. */
function shared(ports: ServerPreflightPorts) {
  const memo = <T>(ask: () => Promise<T>) => {
    let asked: Promise<T> | undefined
    return () => {
      asked ??= ask()
      return asked
    }
  }
  const registry = memo(() => readRegistry(ports.registry))
  return {
    repository: memo(() => ports.github.repository()),
    registry,
    hosts: memo(() => ports.compute.describeHosts()),
    images: memo(() => ports.compute.fleetImages()),
    bundles: memo(async () => (ports.store ? inspectBundles(ports.store, await registry()) : null)),
  }
}
type Shared = ReturnType<typeof shared>

const KINDS = {
  app: 'A GitHub App installation',
  'fine-grained': 'A fine-grained token',
  classic: 'A classic token',
  other: 'A token',
}

function credential({ name, credential }: GithubRepositoryView, { clock }: ServerPreflightPorts): Finding {
  const { kind, expiresAt } = credential
  const left = expiresAt === null ? null : Date.parse(expiresAt) - clock.now().getTime()
  // An installation token expires after an hour and is renewed automatically.
  const until = kind !== 'app' && expiresAt ? `, until ${expiresAt}` : ''
  const soon = kind !== 'app' && left !== null && left < EXPIRES_SOON_MS
  return pass(`${KINDS[kind]} that reads ${name}${until}.`, soon ? 'It expires soon: renew GITHUB_TOKEN.' : null)
}

function mayDispatch({ name, archived, push, credential, ...repository }: GithubRepositoryView): Finding {
  const { kind, scopes, permissions } = credential
  if (archived) return fail(`${name} is archived.`, 'Unarchive it, or set GITHUB_REPO to the one in use.')
  if (kind === 'app') {
    const actions = permissions?.actions ?? 'none'
    if (actions === 'write') return pass("The installation's permission on actions is write.")
    return fail(
      `The installation's permission on actions is ${actions}.`,
      'Grant the App actions: write, and accept it.',
    )
  }
  if (push === false) {
    return fail(
      `The token's owner may not push to ${name}.`,
      'Use a token of a user with write access, or a GitHub App.',
    )
  }
  if (kind === 'classic' && scopes) {
    const enough = scopes.includes('repo') || (!repository.private && scopes.includes('public_repo'))
    const granted = scopes.length > 0 ? scopes.join(', ') : 'none'
    if (enough) return pass(`The token's scopes are ${granted}.`)
    return fail(
      `The token's scopes are ${granted}.`,
      'Give it the scope repo, or use a GitHub App with actions: write.',
    )
  }
  return skip(
    `${KINDS[kind]}: GitHub does not show its permissions without a dispatch.`,
    'Check that it has actions: write. With a GitHub App, preflight can verify this.',
  )
}

async function workflow({ github }: ServerPreflightPorts): Promise<Finding> {
  const found = await github.workflow()
  if (!found) return fail('The workflow does not exist on GitHub.', 'Check GITHUB_WORKFLOW and the default branch.')
  const { file, ref, state, text } = found
  if (state !== 'active') return fail(`${file} is ${state}.`, `gh workflow enable ${file}`)
  if (text === null) return fail(`There is no ${file} on ${ref}.`, 'Check GITHUB_REF.')
  const missing = missingInputs(text)
  if (missing === null) return skip(`${file} is active; its inputs could not be read.`, 'Write one input per line.')
  if (missing.length === 0) return pass(`${file} on ${ref} is active and has every input of a deploy.`)
  return fail(
    `${file} on ${ref} lacks ${missing.join(', ')}.`,
    `Deploy ${file} and the Control API in the same version.`,
  )
}

async function bundles(once: Shared): Promise<Finding> {
  const checked = await once.bundles()
  if (!checked) return skip('No bucket is configured.', 'Set S3_BUCKET.')
  const bad = checked.filter(({ problems }) => problems.length > 0)
  if (bad.length === 0) return pass(`${count(checked.length, 'bundle')}.`)
  const lines = bad
    .slice(0, MAX_NAMED)
    .map(({ entry, problems }) => `${entry.id}: ${problems.slice(0, MAX_NAMED).join(', ')}`)
  const more = bad.length > MAX_NAMED ? `; and ${bad.length - MAX_NAMED} more` : ''
  return fail(`${lines.join('; ')}${more}.`, 'Upload the bundle of each instance named here.')
}

/** Only existing bundles count here: another check reports missing ones. */
async function tokenInBundles(once: Shared): Promise<Finding> {
  const checked = (await once.bundles()) ?? []
  const there = checked.flatMap(({ entry, manifest }) => (manifest ? [{ entry, manifest }] : []))
  if (there.length === 0) return skip('There is no bundle yet.')
  const without = there.filter(({ entry, manifest }) => !namesSecret(manifest, entry, CONTROL_TOKEN))
  if (without.length === 0) return pass(`It is in ${count(there.length, 'bundle')}.`)
  const ids = named(without.map(({ entry }) => entry.id))
  return fail(`It is not in the bundle of ${ids}.`, 'Upload the bundle of each instance named here.')
}

async function fleet({ store, clock }: ServerPreflightPorts, once: Shared): Promise<Finding> {
  const [registry, hosts, images] = await Promise.all([once.registry(), once.hosts(), once.images()])
  const heartbeats = store && (await readHeartbeats(store, hosts))
  const { instances } = describeFleet({ registry, hosts, images, heartbeats, now: clock.now() })
  const those = (what: string, is: (instance: FleetInstance) => boolean) => {
    const ids = instances.filter(is).map(({ id }) => id)
    return ids.length > 0 ? [`${what}: ${named(ids)}`] : []
  }
  const healthy = instances.filter(({ health }) => health === 'healthy').length
  const words = [
    `${healthy} of ${registry.length} healthy`,
    ...those('missing', ({ state }) => state === 'missing'),
    ...those('unhealthy', ({ health, state }) => health === 'unhealthy' && state !== 'orphan'),
    ...those('orphan', ({ state }) => state === 'orphan'),
  ]
  return pass(`${words.join('; ')}.`, words.length > 1 ? 'See `clawctl fleet status`.' : null)
}

/**
 * Fails while `all` is frozen. While one instance is frozen, it and `all` are refused, and the others can be
 * deployed one by one.
 */
async function frozen(ports: ServerPreflightPorts): Promise<Finding> {
  const freezes = await readFreezes(ports)
  if (freezes.length === 0) return pass('Nothing is frozen.')
  const ends = freezes.map(({ target }) => `\`clawctl fleet unfreeze ${target}\``).join(' or ')
  const evidence = `Frozen: ${freezes.map((freeze) => `${freeze.target} ${describeFreeze(freeze)}`).join('; ')}.`
  if (freezes.some(({ target }) => target === 'all')) return fail(evidence, `Wait, or a person ends it: ${ends}.`)
  return pass(evidence, `Neither these nor \`all\` are deployed until a person ends it: ${ends}.`)
}

/** With the shared token, a sender may claim to be any instance. */
function ownTokens({ controlTokens: tokens }: ServerPreflightPorts, registry: Registry): Finding {
  if (!tokens) return skip('Only the Control API sees its own tokens.', null)
  const without = registry.filter(({ id }) => !tokens.callers.includes(id))
  if (without.length === 0) return pass(`${count(registry.length, 'instance')}.`)
  // Not a failure: no instance of a new fleet has one.
  return pass(
    `Only the shared token is there for ${named(without.map(({ id }) => id))}: requests with it are recorded as claimed.`,
    `clawctl token add ${without[0]?.id}, then upload its bundle.`,
  )
}

function controlTokens({ controlTokens: tokens }: ServerPreflightPorts): Finding {
  if (!tokens) return skip('Only the Control API can check its own tokens.', null)
  const own = tokens.callers.length > 0 ? ` ${count(tokens.callers.length, 'instance')} with a token of its own.` : ''
  if (!tokens.previous) return pass(`One token is accepted.${own}`)
  return pass(
    `The previous token is still accepted.${own}`,
    'Remove CONTROL_API_TOKEN_PREVIOUS when every host and laptop has the new token.',
  )
}

function controlSecrets({ secrets, clock }: ServerPreflightPorts): Finding {
  if (!secrets) return skip('They are in its environment, or only the Control API sees them.')
  const age = ms(Math.max(0, clock.now().getTime() - secrets.readAt), { long: true })
  if (secrets.problem === null) return pass(`They were read ${age} ago.`)
  return fail(
    `It still uses those from ${age} ago: ${secrets.problem}`,
    'clawctl secrets control-api check, then edit what it names.',
  )
}

/** `githubApp = { appId = "…"; … };` of nix/site.nix; the App's id, null for none, undefined for another form. */
function hostAppOf(site: string): string | null | undefined {
  const text = site.replace(/#.*$/gm, '')
  if (/\bgithubApp\s*=\s*null\s*;/.test(text)) return null
  return /\bgithubApp\s*=\s*\{[^}]*?\bappId\s*=\s*"([^"]+)"/.exec(text)?.[1]
}

/** With one App for both, root on one host could dispatch workflows past the policy. */
async function credentialsApart({ github, appId }: ServerPreflightPorts, once: Shared): Promise<Finding> {
  if (appId === undefined) return skip('Only the Control API knows its own GitHub credential.')
  // Another check reports why GitHub does not answer.
  const seen = await Promise.all([github.site(), once.repository()]).catch(() => null)
  if (!seen) return skip('GitHub could not be reached.')
  const [site, { credential }] = seen
  const more = Object.entries(credential.permissions ?? {}).filter(
    ([name, level]) => !ENOUGH.some(([known, most]) => name === known && (level === most || level === 'read')),
  )
  if (more.length > 0) {
    const excess = more.map(([name, level]) => `${name}: ${level}`).join(', ')
    return fail(
      `The Control API's App has permissions that it does not need: ${excess}.`,
      'Remove them from the App: actions: write and contents: read are enough.',
    )
  }
  const host = site === null ? undefined : hostAppOf(site)
  if (host === undefined) return skip("The hosts' App could not be read from nix/site.nix.")
  if (host === null) return pass('The hosts have no App.')
  if (host !== appId)
    return pass(`The hosts' App is ${host}, the Control API uses ${appId === null ? 'a token' : `App ${appId}`}.`)
  return fail(
    `The hosts mint tokens of the App ${host}, and so does the Control API: root on one host could start any workflow.`,
    'Make a second App with contents: read, issues: read and pull_requests: read for the hosts: docs/security.md.',
  )
}
/** What the Control API's App needs; GitHub adds metadata itself. */
const ENOUGH = [
  ['actions', 'write'],
  ['contents', 'read'],
  ['metadata', 'read'],
] as const
