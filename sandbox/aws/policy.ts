import { AwsError } from './error.js'

interface Statement {
  Effect: string
  Principal?: Record<string, unknown>
  Action?: unknown
  Resource?: unknown
  Condition?: Record<string, Record<string, unknown>>
}

export interface AccessRequest {
  action: string
  resource: string
  /** Condition keys, such as s3:prefix. */
  context?: Readonly<Record<string, string>>
}

/** @throws AwsError MalformedPolicyDocument if IAM would refuse the policy */
export function checkPolicy(text: string, kind: 'permissions' | 'trust'): void {
  const malformed = (why: string) => new AwsError('MalformedPolicyDocument', 400, why)
  let statements: Statement[]
  try {
    statements = statementsOf(text)
  } catch {
    throw malformed('The policy is not in the valid JSON format.')
  }
  if (statements.length === 0) throw malformed('Policy document must contain at least one statement.')
  for (const statement of statements) {
    if (statement.Effect !== 'Allow' && statement.Effect !== 'Deny') throw malformed('Effect must be Allow or Deny.')
    if (list(statement.Action).length === 0) throw malformed('Policy statement must contain actions.')
    if (kind === 'trust' && !statement.Principal) throw malformed('Policy statement must contain principals.')
    if (kind === 'permissions' && list(statement.Resource).length === 0) {
      throw malformed('Policy statement must contain resources.')
    }
  }
}

/** Whether the policies together allow it: an explicit deny takes precedence; the default is deny. */
export function allows(policies: Iterable<string>, request: AccessRequest): boolean {
  const matching = [...policies].flatMap(statementsOf).filter((statement) => applies(statement, request))
  return matching.length > 0 && matching.every(({ Effect }) => Effect === 'Allow')
}

/** Whether a trust policy allows the service to assume the role. */
export function trusts(policy: string, service: string): boolean {
  return statementsOf(policy).some(
    ({ Effect, Action, Principal }) =>
      Effect === 'Allow' && list(Action).includes('sts:AssumeRole') && list(Principal?.Service).includes(service),
  )
}

function statementsOf(text: string): Statement[] {
  const { Statement } = JSON.parse(text) as { Statement?: Statement | Statement[] }
  return Statement === undefined ? [] : [Statement].flat()
}

function list(value: unknown): string[] {
  return value === undefined ? [] : [value].flat().map(String)
}

function applies({ Action, Resource, Condition = {} }: Statement, request: AccessRequest): boolean {
  return (
    list(Action).some((action) => like(action.toLowerCase(), request.action.toLowerCase())) &&
    list(Resource).some((resource) => like(resource, request.resource)) &&
    Object.entries(Condition).every(([test, keys]) =>
      Object.entries(keys).every(([key, values]) => holds(test, list(values), request.context?.[key])),
    )
  )
}

/** The conditions that the stacks use. Another one is a defect of the sandbox, not a permission. */
function holds(test: string, values: readonly string[], actual: string | undefined): boolean {
  if (test === 'StringEquals') return actual !== undefined && values.includes(actual)
  if (test === 'StringLike') return actual !== undefined && values.some((value) => like(value, actual))
  throw new Error(`The sandbox does not evaluate the condition ${test}`)
}

/** `*` is any text, `?` one character. */
function like(pattern: string, text: string): boolean {
  const source = pattern
    .replace(/[\\^$.+()[\]{}|]/g, '\\$&')
    .replaceAll('*', '[\\s\\S]*')
    .replaceAll('?', '[\\s\\S]')
  return new RegExp(`^${source}$`).test(text)
}
