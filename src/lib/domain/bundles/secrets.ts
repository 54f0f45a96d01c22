import type { RegistryEntry } from '../registry/registry.js'

/**
 * The secrets of the fleet: what each is for, who gets it, and whether a host can do without. The one list: uploads,
 * checks, the deploy gate, preflight and the sandbox read it. In a secrets directory each is a file `<name>.age`.
 */
export interface SecretSpec {
  title: string
  /** What it is for, as the end of a sentence. */
  purpose: string
  /** `shared`: the same file for every instance. `instance`: each has its own, and nobody may have another's. */
  scope: 'shared' | 'instance'
  required: boolean
  /** Its name in the secrets directory; of a shared one it is the same for all. */
  nameFor(entry: Pick<RegistryEntry, 'id' | 'discordTokenSecret'>): string
  /** Name that an instance's own one may have instead; on the host it goes by `nameFor`. */
  ownNameFor?(entry: Pick<RegistryEntry, 'id'>): string
}

/** The shared one; an instance's own bears its id behind it. */
export const CONTROL_TOKEN_SECRET = 'clawdinator-control-token'

export const CONTROL_TOKEN: SecretSpec = {
  title: 'Control token',
  purpose: 'the Control API knows the instance by it',
  scope: 'shared',
  required: true,
  nameFor: () => CONTROL_TOKEN_SECRET,
  ownNameFor: ({ id }) => `${CONTROL_TOKEN_SECRET}-${id}`,
}

export const SECRETS: readonly SecretSpec[] = [
  {
    title: 'Discord bot token',
    purpose: 'the gateway signs in to Discord with it',
    scope: 'instance',
    required: true,
    nameFor: (entry) => entry.discordTokenSecret,
  },
  {
    title: 'Anthropic API key',
    purpose: 'Claude models',
    scope: 'shared',
    required: true,
    nameFor: () => 'anthropic-api-key',
  },
  {
    title: 'OpenAI API key',
    purpose: 'GPT and Codex models',
    scope: 'shared',
    required: true,
    nameFor: () => 'openai-api-key',
  },
  {
    title: 'GitHub App private key',
    purpose: 'short-lived installation tokens',
    scope: 'shared',
    required: true,
    nameFor: () => 'github-app-key',
  },
  CONTROL_TOKEN,
  {
    title: 'Telegram bot token',
    purpose: 'the gateway signs in to Telegram with it, where nix/site.nix names Telegram',
    scope: 'instance',
    required: false,
    nameFor: ({ id }) => `clawdinator-telegram-token-${id}`,
  },
]

/** In the secrets directory: `identities/<id>.age`, encrypted for the maintainers, and `recipients/<name>.txt`. */
export const IDENTITIES_FOLDER = 'identities'
export const RECIPIENTS_FOLDER = 'recipients'
/** `recipients/maintainers.txt`: who can change secrets, and CI where it makes bundles. */
export const MAINTAINERS = 'maintainers'

/** The age identity of an instance, a required part of its bundle: the one object that is not ciphertext. */
export const IDENTITY = {
  title: 'agenix host identity',
  purpose: 'decrypts all of the above on the instance',
  name: 'age-identity',
} as const

/** Of an age recipient's SHA-256, in hex: enough to tell identities apart, and short in a manifest. */
export const FINGERPRINT_DIGITS = 16

/** Of a secret, as file names and S3 keys bear it. */
export const SECRET_NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/

/** Names of the secrets that every instance gets. */
export const SHARED_SECRET_NAMES: readonly string[] = SECRETS.filter((spec) => spec.scope === 'shared').map((spec) =>
  spec.nameFor({ id: '', discordTokenSecret: '' }),
)

/** Names that only this instance may have. */
export function ownSecretNames(entry: RegistryEntry): string[] {
  return SECRETS.flatMap((spec) => [
    ...(spec.scope === 'instance' ? [spec.nameFor(entry)] : []),
    ...(spec.ownNameFor ? [spec.ownNameFor(entry)] : []),
  ])
}

/** Whether a name has the form of some instance's own secret, be the instance in the registry or not. */
export function isOwnForm(name: string): boolean {
  return SECRETS.some((spec) => spec.ownNameFor && name.startsWith(spec.ownNameFor({ id: '' })))
}

/** No id has a blank: what two instances call their own belongs to neither. */
const DISPUTED = 'two instances'

/** Secret name → the instance that alone may have it. */
export function ownersOf(registry: readonly RegistryEntry[]): Map<string, string> {
  const owners = new Map<string, string>()
  for (const entry of registry) {
    for (const name of ownSecretNames(entry)) {
      owners.set(name, (owners.get(name) ?? entry.id) === entry.id ? entry.id : DISPUTED)
    }
  }
  return owners
}
