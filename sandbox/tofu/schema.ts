import { Diagnostic } from './diagnostic.js'
import { isMapping, type Value } from './evaluate.js'

/** The stand-in's schema of a resource type. An unknown argument is refused, never ignored. */
export interface ResourceType {
  /** Version of the provider's schema, for the state. */
  version: number
  required: readonly string[]
  /** Null if they are not configured. */
  optional: readonly string[]
  /** Set by AWS if they are not configured. */
  kept: readonly string[]
  /** Attributes that only AWS sets. */
  computed: readonly string[]
  defaults: Readonly<Record<string, Value>>
  /** Changing one of these replaces the resource. */
  replaces: readonly string[]
  /** Attributes that can change in place. */
  updates: readonly string[]
  /** Nested blocks and their arguments. */
  blocks: Readonly<Record<string, readonly string[]>>
}

const RULE = [
  'description',
  'from_port',
  'to_port',
  'protocol',
  'cidr_blocks',
  'ipv6_cidr_blocks',
  'prefix_list_ids',
  'security_groups',
  'self',
]

export const TYPES: Readonly<Record<string, ResourceType>> = {
  aws_iam_role: {
    version: 0,
    required: ['assume_role_policy'],
    optional: ['permissions_boundary', 'description', 'tags'],
    kept: ['name'],
    computed: ['arn', 'id', 'create_date', 'unique_id', 'inline_policy', 'managed_policy_arns'],
    defaults: { path: '/', force_detach_policies: false, max_session_duration: 3600 },
    replaces: ['name', 'path'],
    updates: ['assume_role_policy', 'permissions_boundary', 'tags'],
    blocks: {},
  },
  aws_iam_role_policy: {
    version: 0,
    required: ['role', 'policy'],
    optional: [],
    kept: ['name'],
    computed: ['id'],
    defaults: {},
    replaces: ['name', 'role'],
    updates: ['policy'],
    blocks: {},
  },
  aws_iam_instance_profile: {
    version: 0,
    required: [],
    optional: ['role', 'tags'],
    kept: ['name'],
    computed: ['arn', 'id', 'create_date', 'unique_id'],
    defaults: { path: '/' },
    replaces: ['name', 'path'],
    updates: ['role', 'tags'],
    blocks: {},
  },
  aws_security_group: {
    version: 1,
    required: [],
    optional: ['tags'],
    kept: ['name', 'vpc_id', 'ingress', 'egress'],
    computed: ['arn', 'id', 'owner_id'],
    defaults: { description: 'Managed by Terraform', revoke_rules_on_delete: false },
    replaces: ['name', 'description', 'vpc_id'],
    updates: ['ingress', 'egress', 'tags'],
    blocks: { ingress: RULE, egress: RULE },
  },
  aws_instance: {
    version: 2,
    // The provider requires them without a launch template, which the stand-in does not support.
    required: ['ami', 'instance_type'],
    optional: ['user_data', 'tags'],
    kept: ['iam_instance_profile', 'subnet_id', 'vpc_security_group_ids', 'metadata_options', 'root_block_device'],
    computed: ['arn', 'availability_zone', 'id', 'instance_state', 'private_ip', 'public_ip'],
    defaults: { user_data_replace_on_change: false },
    replaces: ['ami', 'subnet_id'],
    updates: ['tags'],
    blocks: {
      metadata_options: ['http_endpoint', 'http_tokens', 'http_put_response_hop_limit', 'instance_metadata_tags'],
      root_block_device: ['encrypted', 'volume_type', 'volume_size', 'delete_on_termination', 'kms_key_id', 'iops'],
    },
  },
}

export function typeOf(type: string): ResourceType {
  const known = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined
  if (known) return known
  throw new Diagnostic(`The stand-in of the clawctl sandbox does not model "${type}"`, 'The state holds one.')
}

/** The configuration with its defaults. @throws Diagnostic with the provider's text */
export function checkBody(address: string, type: string, body: { [name: string]: Value }): { [name: string]: Value } {
  const { required, optional, kept, defaults, blocks } = typeOf(type)
  const where = `  with ${address},`
  const known = new Set([...required, ...optional, ...kept, ...Object.keys(defaults)])
  for (const [name, value] of Object.entries(body)) {
    if (!known.has(name)) {
      throw new Diagnostic('Unsupported argument', `An argument named "${name}" is not expected here.\n${where}`)
    }
    for (const block of Object.hasOwn(blocks, name) && Array.isArray(value) ? value : []) {
      const stray = isMapping(block) ? Object.keys(block).find((key) => !blocks[name]?.includes(key)) : '(no object)'
      if (stray) {
        throw new Diagnostic(
          'Unsupported argument',
          `An argument named "${stray}" is not expected in ${name}.\n${where}`,
        )
      }
    }
  }
  const missing = required.find((name) => (body[name] ?? null) === null)
  if (missing) {
    throw new Diagnostic(
      'Missing required argument',
      `The argument "${missing}" is required, but no definition was found.\n${where}`,
    )
  }
  return { ...Object.fromEntries(optional.map((name) => [name, null])), ...defaults, ...body }
}
