import { CONTROL_TOKEN } from '../bundles/secrets.js'
import type { FleetInstance } from '../contract/index.js'
import { BUNDLE_WORKFLOW, REGISTRY_PATH } from '../paths.js'
import { hostFilePath } from './hostFile.js'
import type { RegistryEntry } from './registry.js'

/** One step towards a new instance. */
export interface Step {
  id: 'discord-token' | 'registry-entry' | 'host-file' | 'identity' | 'control-token' | 'merged' | 'bundle' | 'deploy'
  title: string
  /** Null if it is not known here. */
  done: boolean | null
  /** The command to type, or null. */
  command: string | null
  /** Why the state is not known, or a remark. */
  note: string | null
}

/** Whether a step is done, or why that is not known here. */
export type Known = { done: boolean; note?: string | null } | { unknown: string }

export interface StepFacts {
  entry: RegistryEntry
  /** Whether the files are written here, waiting in a pull request, or only planned. */
  written: 'here' | 'pull-request' | 'planned'
  pullRequestUrl: string | null
  token: Known
  identity: Known
  controlToken: Known
  bundle: Known
  /** The instance on the deployed branch and in EC2; null if in neither. */
  instance: { known: FleetInstance | null; ofBranch: boolean } | { unknown: string }
}

/** The steps of a new instance into the fleet, in order, each with its state. */
export function stepsToAdd(facts: StepFacts): Step[] {
  const { entry, written } = facts
  const { id, discordTokenSecret } = entry
  const instance = 'known' in facts.instance ? facts.instance.known : null
  const onBranch = branchKnown(facts.instance)
  const runs: Known = 'unknown' in facts.instance ? facts.instance : { done: instance?.state === 'running' }
  const here = written === 'planned' ? 'dry run: not written' : null
  const files = `${REGISTRY_PATH} ${hostFilePath(id)}`
  return [
    {
      id: 'discord-token',
      title: `Its own Discord bot, with the token encrypted as ${discordTokenSecret}.age in nix-secrets`,
      ...stateOf(facts.token),
      command: `agenix -e ${discordTokenSecret}.age`,
    },
    {
      id: 'registry-entry',
      title: `Entry in ${REGISTRY_PATH}`,
      done: written !== 'planned',
      command: null,
      note: written === 'pull-request' ? 'in the pull request' : here,
    },
    {
      id: 'host-file',
      title: `Host file ${hostFilePath(id)}`,
      done: written !== 'planned',
      command: null,
      note: written === 'pull-request' ? 'in the pull request' : here,
    },
    {
      id: 'identity',
      title: `Its own age identity, and its secrets encrypted for it: identities/${id}.age in nix-secrets`,
      ...stateOf(facts.identity),
      command: `clawctl secrets identity new ${id} --secrets-dir nix-secrets --identity YOUR_AGE_KEY_FILE`,
    },
    {
      id: 'control-token',
      title: `Its own control token, which authenticates it to the Control API: ${CONTROL_TOKEN.ownNameFor?.(entry)}.age in nix-secrets`,
      ...stateOf(facts.controlToken),
      command: `clawctl token add ${id} --secrets-dir nix-secrets --mode ci`,
    },
    {
      id: 'merged',
      title: 'Both on the deployed branch',
      ...stateOf(onBranch),
      command:
        written === 'pull-request'
          ? facts.pullRequestUrl && `gh pr merge ${facts.pullRequestUrl}`
          : `git add ${files} && git commit -m "Add ${id} to the fleet" && git push`,
    },
    {
      id: 'bundle',
      title: `Bundle with only its own token, s3://$S3_BUCKET/${entry.bootstrapPrefix}/`,
      ...stateOf(facts.bundle),
      command: `gh workflow run ${BUNDLE_WORKFLOW} -f target=${id}`,
    },
    {
      id: 'deploy',
      title: 'Deployed: the host boots, pulls its bundle, starts the gateway',
      ...stateOf(runs),
      command: `clawctl fleet deploy ${id} --wait`,
    },
  ]
}

function branchKnown(instance: StepFacts['instance']): Known {
  if ('unknown' in instance) return instance
  if (!instance.ofBranch) return { unknown: 'CI knows only its own checkout' }
  return { done: instance.known !== null && instance.known.state !== 'orphan' }
}

function stateOf(known: Known): Pick<Step, 'done' | 'note'> {
  return 'done' in known
    ? { done: known.done, note: known.note ?? null }
    : { done: null, note: `not known here: ${known.unknown}` }
}

/** What remains after the entry is removed, and the command that removes it. */
export interface RemainingObject {
  what: string
  command: string | null
}

export function remainingObjects(entry: RegistryEntry): RemainingObject[] {
  const { id, bootstrapPrefix, discordTokenSecret } = entry
  return [
    {
      what: 'Its machine, if one runs: an orphan that keeps running until it is retired.',
      command: `clawctl fleet deploy --retire ${id}`,
    },
    {
      what: `Its bundle, s3://$S3_BUCKET/${bootstrapPrefix}/.`,
      command: `aws s3 rm --recursive s3://$S3_BUCKET/${bootstrapPrefix}/`,
    },
    {
      what: `Its age identity, identities/${id}.age and recipients/${id}.txt in nix-secrets.`,
      command: `git -C nix-secrets rm identities/${id}.age recipients/${id}.txt`,
    },
    {
      what: `Its control token: the Control API accepts it until it is removed.`,
      command: `clawctl token remove ${id} --mode ci`,
    },
    {
      what: `Its Discord token, ${discordTokenSecret}.age in nix-secrets: revoke it with Discord, or keep it for another instance.`,
      command: null,
    },
  ]
}
