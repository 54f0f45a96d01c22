import { Diagnostic } from './diagnostic.js'
import { entries, evaluate, evaluateBody, isMapping, type Scope, UNKNOWN, type Value } from './evaluate.js'
import { policyDocument } from './policyDocument.js'
import type { Check, Configured, Stack } from './stack.js'
import type { Variables } from './variables.js'

/** One resource or data source of a for_each; `index` is null without for_each. */
export interface Instance {
  index: string | null
  scope: Scope
}

/** Evaluates the stack's expressions: variables are given, resources are added when they are planned or created. */
export class Module {
  readonly #stack: Stack
  readonly #scope: Record<string, Value>
  readonly #resources = new Map<string, Value>()

  constructor(stack: Stack, variables: Variables) {
    this.#stack = stack
    const types = [...new Set([...stack.resources.values()].map(({ type }) => type))]
    this.#scope = {
      var: Object.fromEntries(variables) as Value,
      path: { module: stack.dir, root: stack.dir },
      local: lazy([...stack.locals.keys()], (name) => evaluate(stack.locals.get(name) as never, this.#scope)),
      data: lazy([...new Set([...stack.data.values()].map(({ type }) => type))], (type) =>
        this.#named(stack.data, type, (configured) => this.#data(configured)),
      ),
      ...Object.fromEntries(
        types.map((type) => [
          type,
          this.#named(stack.resources, type, ({ name }) => this.#resources.get(`${type}.${name}`) ?? UNKNOWN),
        ]),
      ),
    }
  }

  /** Sets the resource's attributes for references. */
  put(address: string, value: Value): void {
    this.#resources.set(address, value)
  }

  evaluate(expression: Parameters<typeof evaluate>[0]): Value {
    return evaluate(expression, this.#scope)
  }

  /** @throws Diagnostic if for_each is neither a map nor a set, or depends on unknown values */
  expand({ forEach }: Pick<Configured, 'forEach'>): Instance[] {
    if (forEach === null) return [{ index: null, scope: this.#scope }]
    const each = this.evaluate(forEach)
    if (each === UNKNOWN || Array.isArray(each) || (!(each instanceof Set) && !isMapping(each))) {
      throw new Diagnostic(
        'Invalid for_each argument',
        'A map or a set of strings is required, known before the apply.',
      )
    }
    return entries(each, 'for_each').map(([key, value]) => ({
      index: String(key),
      scope: { ...this.#scope, each: { key, value } },
    }))
  }

  /** @throws Diagnostic with the check's own message */
  check(checks: readonly Check[], scope: Scope, summary: string): void {
    for (const { condition, message } of checks) {
      if (evaluate(condition, { ...this.#scope, ...scope }) !== false) continue
      throw new Diagnostic(summary, String(evaluate(message, { ...this.#scope, ...scope })))
    }
  }

  outputs(): Record<string, Value> {
    return Object.fromEntries([...this.#stack.outputs].map(([name, value]) => [name, this.evaluate(value)]))
  }

  #named(all: ReadonlyMap<string, Configured>, type: string, read: (of: Configured) => Value): Value {
    const names = [...all.values()].filter((one) => one.type === type).map(({ name }) => name)
    return lazy(names, (name) => read(all.get(`${type}.${name}`) as Configured), false)
  }

  #data(configured: Configured): Value {
    const read = ({ scope }: Instance): Value => {
      const body = evaluateBody(configured.body, scope)
      if (configured.type === 'aws_partition') return { partition: 'aws', dns_suffix: 'amazonaws.com', id: 'aws' }
      return policyDocument(`data.${configured.type}.${configured.name}`, body)
    }
    const instances = this.expand(configured)
    const [only] = instances
    if (only && only.index === null) return read(only)
    return Object.fromEntries(instances.map((instance) => [instance.index ?? '', read(instance)]))
  }
}

/** An object whose parts are evaluated on access, once unless `keep` is false. */
function lazy(names: readonly string[], read: (name: string) => Value, keep = true): Value {
  const known = new Map<string, Value>()
  const open = new Set<string>()
  return Object.defineProperties(
    {},
    Object.fromEntries(
      names.map((name) => [
        name,
        {
          enumerable: true,
          get: () => {
            const before = known.get(name)
            if (before !== undefined) return before
            if (open.has(name)) throw new Diagnostic('Cycle', `${[...open].join(', ')} refer to each other.`)
            open.add(name)
            try {
              const value = read(name)
              if (keep) known.set(name, value)
              return value
            } finally {
              open.delete(name)
            }
          },
        },
      ]),
    ),
  )
}
