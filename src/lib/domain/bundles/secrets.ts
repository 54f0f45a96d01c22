import type { RegistryEntry } from '../registry/registry.js'

/**
 * The secrets of the fleet: purpose, owner, and whether a host requires it. The only list: uploads,
 * checks, the deploy gate, preflight and the sandbox read it. In a secrets directory, each is a file `<name>.age`.
 */
export interface SecretSpec {
  title: string
  /** Its purpose, as the end of a sentence. */
  purpose: string
  /** `shared`: the same file for every instance. `instance`: each has its own, and never another's. */
  scope: 'shared' | 'instance'
  required: boolean
  /** Its name in the secrets directory; a shared one has the same name for all. */
  nameFor(entry: Pick<RegistryEntry, 'id' | 'discordTokenSecret'>): string
  /** Alternative name of an instance's own one; on the host it is called by `nameFor`. */
  ownNameFor?(entry: Pick<RegistryEntry, 'id'>): string
}

/** Name of the shared control token; an instance's own has the id appended. */
export const CONTROL_TOKEN_SECRET = 'clawdinator-control-token'

export const CONTROL_TOKEN: SecretSpec = {
  title: 'Control token',
  purpose: 'authenticates the instance at the Control API',
  scope: 'shared',
  required: true,
  nameFor: () => CONTROL_TOKEN_SECRET,
  ownNameFor: ({ id }) => `${CONTROL_TOKEN_SECRET}-${id}`,
}

export const SECRETS: readonly SecretSpec[] = [
  {
    title: 'Discord bot token',
    purpose: 'signs the gateway in to Discord',
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
/** `recipients/maintainers.txt`: maintainers, and CI if it makes bundles. */
export const MAINTAINERS = 'maintainers'

/** The age identity of an instance. Required in its bundle, and the only object that is not ciphertext. */
export const IDENTITY = {
  title: 'agenix host identity',
  purpose: 'decrypts the secrets on the instance',
  name: 'age-identity',
} as const

/** Hex digits of an age recipient's SHA-256: short in a manifest, and enough to distinguish identities. */
export const FINGERPRINT_DIGITS = 16

/** Form of a secret's name in file names and S3 keys. */
export const SECRET_NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/

/** Names of the secrets that every instance gets. */
export const SHARED_SECRET_NAMES: readonly string[] = SECRETS.filter((spec) => spec.scope === 'shared').map((spec) =>
  spec.nameFor({ id: '', discordTokenSecret: '' }),
)

/** Names of the secrets that belong only to this instance. */
function ownSecretNames(entry: RegistryEntry): string[] {
  return SECRETS.flatMap((spec) => [
    ...(spec.scope === 'instance' ? [spec.nameFor(entry)] : []),
    ...(spec.ownNameFor ? [spec.ownNameFor(entry)] : []),
  ])
}

/** Whether a name has the form of an instance's own secret, registered or not. */
export function isOwnForm(name: string): boolean {
  return SECRETS.some((spec) => spec.ownNameFor && name.startsWith(spec.ownNameFor({ id: '' })))
}

/** Owner of a name that two instances claim. Ids have no blanks. */
const DISPUTED = 'two instances'

/** Secret name → its only owner. */
export function ownersOf(registry: readonly RegistryEntry[]): Map<string, string> {
  const owners = new Map<string, string>()
  for (const entry of registry) {
    for (const name of ownSecretNames(entry)) {
      owners.set(name, (owners.get(name) ?? entry.id) === entry.id ? entry.id : DISPUTED)
    }
  }
  return owners
}
