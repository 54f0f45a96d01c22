import { expectPlan, NO_ADOPTION } from '../../src/lib/domain/deploy/expectation.js'
import { guardPlan } from '../../src/lib/domain/deploy/planGuard.js'
import { type Change, ID_TYPES, instanceAddress, machinesInState } from '../../src/lib/domain/deploy/slots.js'
import { thrown } from './fakes.js'

export interface Planned {
  address: string
  mode: string
  type: string
  index?: string | number
  change: { actions: string[]; before?: unknown; after?: unknown; importing?: unknown }
}

export const REPLACE = ['delete', 'create']
export const ec2 = { Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: 'ec2.amazonaws.com' } }
export const document = (...statements: object[]) => JSON.stringify({ Version: '2012-10-17', Statement: statements })
export const allow = (Action: unknown, Resource: unknown, more: object = {}) => ({
  Effect: 'Allow',
  Action,
  Resource,
  ...more,
})
export const arn = (path: string) => `arn:aws:s3:::bucket${path}`
export const read = (id: string) => allow('s3:GetObject', [arn(`/bootstrap/${id}/*`), arn(`/active/${id}.json`)])
export const listing = (id: string, prefixes: string[] = [`bootstrap/${id}/*`, `active/${id}.json`]) =>
  allow('s3:ListBucket', arn(''), { Condition: { StringLike: { 's3:prefix': prefixes } } })
export const write = (id: string) => allow('s3:PutObject', arn(`/heartbeats/${id}/*`))
export const key = (via: string | string[]) =>
  allow(['kms:Decrypt', 'kms:GenerateDataKey'], 'arn:aws:kms:eu-central-1:1:key/1', {
    Condition: { StringEquals: { 'kms:ViaService': via } },
  })

/** What the stack has at this address. */
export function content(type: string, index: unknown): object | undefined {
  const [id = '', slot = 'a'] = String(index).split('/')
  if (type === 'aws_instance') return { tags: { 'clawdinator:id': id, 'clawdinator:slot': slot } }
  if (type === 'aws_iam_role') return { assume_role_policy: document({ Sid: 'Instance', ...ec2 }) }
  if (type === 'aws_iam_role_policy') {
    return { policy: document(read(id), listing(id), write(id), key('s3.eu-central-1.amazonaws.com')) }
  }
  return type === 'aws_security_group' ? { ingress: [], egress: [{ protocol: '-1' }] } : undefined
}

export function change(
  type: string,
  index: string | number | undefined,
  actions: string[],
  more: object = {},
): Planned {
  const bracket = index === undefined ? '' : `[${JSON.stringify(index)}]`
  const after = content(type, index)
  const planned = { actions, ...(after ? { before: after, after } : {}), ...more }
  const own = index === undefined ? {} : { index }
  return { address: `${type}.clawdinator${bracket}`, mode: 'managed', type, ...own, change: planned }
}
export const instance = (id: string, actions: string[], more: object = {}) => change('aws_instance', id, actions, more)
export const plan = (...changes: unknown[]) => ({
  format_version: '1.2',
  variables: { bucket: { value: 'bucket' } },
  resource_changes: changes,
})

/** a and b are in the state, each in slot a; c has lost its machine. */
export const STATE = machinesInState(
  ['a', 'b', 'c'].flatMap((id) => [
    { address: instanceAddress(id), id: `i-${id}`, tags: { 'clawdinator:bootstrap-prefix': `bootstrap/${id}` } },
    ...ID_TYPES.map((type) => ({ address: `${type}.clawdinator["${id}"]`, id })),
  ]),
)
export const CREATE: Change = { kind: 'create', id: 'a', slot: 'b' }
export const created = instance('a/b', ['create'])

export interface Wanted {
  change?: Change
  scope?: string[]
  adopt?: Partial<typeof NO_ADOPTION>
}
export function guard(json: unknown, { change = CREATE, scope = ['a'], adopt = {} }: Wanted = {}) {
  const prefixes = { a: 'bootstrap/a', b: 'bootstrap/b' }
  const facts = { state: STATE, gone: new Set(['i-c']), adopt: { ...NO_ADOPTION, ...adopt }, prefixes }
  return guardPlan(json, expectPlan({ change, scope, ...facts }))
}
export const refusal = (json: unknown, wanted: Wanted = {}) => thrown(() => guard(json, wanted))
export const destroy: Wanted = { change: { kind: 'destroy', id: 'a', slot: 'a' } }
export const replace: Wanted = { change: { kind: 'replace', id: 'a', slot: 'a' } }
export const retire: Wanted = { change: { kind: 'retire', id: 'a' }, scope: [] }
