import { Diagnostic } from './diagnostic.js'

/** An expression of HCL. Splats, heredocs in expressions and directives are refused; the fleet stack does not use them. */
export type Expression =
  | { kind: 'literal'; value: string | number | boolean | null }
  | { kind: 'template'; parts: Expression[] }
  | { kind: 'name'; name: string }
  | { kind: 'get'; of: Expression; key: Expression }
  | { kind: 'call'; name: string; args: Expression[]; expand: boolean }
  | { kind: 'unary'; operator: string; of: Expression }
  | { kind: 'binary'; operator: string; left: Expression; right: Expression }
  | { kind: 'condition'; test: Expression; yes: Expression; no: Expression }
  | { kind: 'tuple'; items: Expression[] }
  | { kind: 'object'; items: [key: Expression, value: Expression][] }
  | {
      kind: 'for'
      names: string[]
      of: Expression
      key: Expression | null
      value: Expression
      test: Expression | null
      group: boolean
    }

interface Range {
  /** Offsets in the file's text. */
  start: number
  end: number
  /** From 1. */
  line: number
}
export interface Attribute extends Range {
  name: string
  value: Expression
}
export interface Block extends Range {
  type: string
  labels: string[]
  body: Body
}
export interface Body {
  attributes: Attribute[]
  blocks: Block[]
}

/** The blocks and attributes of a file. @throws Diagnostic if it is not HCL, or HCL that the stand-in does not support */
export function parseFile(text: string, file: string): Body {
  const parser = new Parser(text, file)
  return parser.body(true)
}

/** A literal of the command line or of a file of variables. @throws Diagnostic */
export function parseExpression(text: string, origin: string): Expression {
  return new Parser(text, origin).whole()
}

/** A template file. @throws Diagnostic */
export function parseTemplate(text: string, file: string): Expression {
  return new Parser(text, file).template(null)
}

/** Precedence of the infix operators. */
const BINDING: Readonly<Record<string, number>> = {
  ...{ '||': 1, '&&': 2, '==': 3, '!=': 3, '<': 4, '>': 4, '<=': 4, '>=': 4 },
  ...{ '+': 5, '-': 5, '*': 6, '/': 6, '%': 6 },
}
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\' }
const IDENTIFIER = /[A-Za-z_][A-Za-z0-9_-]*/y

class Parser {
  readonly #text: string
  readonly #file: string
  #at = 0
  /** Whether a newline ends an expression, as in a body and between the items of an object. */
  #lines = false

  constructor(text: string, file: string) {
    this.#text = text
    this.#file = file
  }

  body(whole: boolean): Body {
    const before = this.#lines
    this.#lines = true
    const body: Body = { attributes: [], blocks: [] }
    for (this.#skip(true); this.#at < this.#text.length && !this.#sees('}'); this.#skip(true)) {
      const start = this.#at
      const line = this.#line(start)
      const name = this.#identifier()
      this.#skip(false)
      if (this.#sees('=') && !this.#sees('==')) {
        this.#at += 1
        const value = this.#within(true, () => (this.#sees('<<') ? this.#heredoc() : this.expression()))
        body.attributes.push({ name, value, start, end: this.#at, line })
        this.#endOfItem()
      } else body.blocks.push(this.#block(name, start, line))
    }
    if (whole && this.#at < this.#text.length) this.#fail('Argument or block definition required')
    this.#lines = before
    return body
  }

  #block(type: string, start: number, line: number): Block {
    const labels: string[] = []
    for (; !this.#sees('{'); this.#skip(false)) {
      if (!this.#take('"')) this.#fail('Invalid block definition')
      const label = this.template('"')
      if (label.kind !== 'literal') this.#fail('Invalid block definition')
      labels.push(String((label as { value: unknown }).value))
    }
    this.#at += 1
    const body = this.body(false)
    if (!this.#take('}')) this.#fail('Unclosed configuration block', line)
    const end = this.#at
    this.#endOfItem()
    return { type, labels, body, start, end, line }
  }

  #endOfItem(): void {
    this.#skip(false)
    if (this.#at < this.#text.length && this.#text[this.#at] !== '\n' && !this.#sees('}')) {
      this.#fail('Missing newline after argument or block')
    }
  }

  whole(): Expression {
    const value = this.expression()
    this.#skip(true)
    if (this.#at < this.#text.length) this.#fail('Extra characters after expression')
    return value
  }

  expression(): Expression {
    const test = this.#binary(0)
    if (!this.#take('?')) return test
    const yes = this.expression()
    this.#expect(':')
    return { kind: 'condition', test, yes, no: this.expression() }
  }

  /** Pratt: an operand, then every infix operator that binds tighter than the one on the left. */
  #binary(least: number): Expression {
    let left = this.#operand()
    for (;;) {
      this.#skip()
      const operator = /^(?:\|\||&&|[=!<>]=|[<>+*/%-])/.exec(this.#text.slice(this.#at, this.#at + 2))?.[0] ?? ''
      const binding = BINDING[operator] ?? 0
      if (binding <= least) return left
      this.#at += operator.length
      left = { kind: 'binary', operator, left, right: this.#binary(binding) }
    }
  }

  #operand(): Expression {
    this.#skip()
    const operator = this.#text[this.#at]
    if (operator === '!' || operator === '-') {
      this.#at += 1
      return { kind: 'unary', operator, of: this.#operand() }
    }
    let value = this.#primary()
    for (;;) {
      if (this.#take('[', false)) {
        if (this.#sees('*')) this.#fail('The stand-in does not evaluate splat expressions')
        value = { kind: 'get', of: value, key: this.#within(false, () => this.expression()) }
        this.#expect(']')
      } else if (this.#sees('.') && !this.#sees('...')) {
        this.#at += 1
        if (this.#sees('*')) this.#fail('The stand-in does not evaluate splat expressions')
        value = { kind: 'get', of: value, key: { kind: 'literal', value: this.#identifier() } }
      } else return value
    }
  }

  #primary(): Expression {
    if (this.#take('"')) return this.template('"')
    const number = this.#match(/\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y)
    if (number !== null) return { kind: 'literal', value: Number(number) }
    if (this.#take('(')) {
      const value = this.#within(false, () => this.expression())
      this.#expect(')')
      return value
    }
    if (this.#take('[')) return this.#within(false, () => this.#tuple())
    if (this.#take('{')) return this.#object()
    const name = this.#identifier()
    if (this.#sees('(')) return this.#call(name)
    if (name === 'true' || name === 'false') return { kind: 'literal', value: name === 'true' }
    return name === 'null' ? { kind: 'literal', value: null } : { kind: 'name', name }
  }

  #call(name: string): Expression {
    this.#at += 1
    let expand = false
    const args = this.#within(false, () =>
      this.#list(')', () => {
        const value = this.expression()
        if (this.#take('...')) expand = true
        return value
      }),
    )
    return { kind: 'call', name, args, expand }
  }

  #tuple(): Expression {
    if (!this.#sees('for ')) return { kind: 'tuple', items: this.#list(']', () => this.expression()) }
    return this.#for(']')
  }

  #object(): Expression {
    return this.#within(false, () => {
      this.#skip()
      if (/for\s/y.test(this.#text.slice(this.#at, this.#at + 4))) return this.#for('}')
      const items: [Expression, Expression][] = []
      for (; !this.#take('}'); this.#skip()) {
        const bare = this.#match(IDENTIFIER)
        const key: Expression = bare === null ? this.#operand() : { kind: 'literal', value: bare }
        if (!this.#take('=') && !this.#take(':')) this.#fail('Missing attribute value')
        items.push([key, this.#within(true, () => this.expression())])
        this.#take(',')
      }
      return { kind: 'object', items }
    })
  }

  #for(end: ']' | '}'): Expression {
    this.#at += 'for '.length
    const names = [this.#identifier()]
    if (this.#take(',')) names.push(this.#identifier())
    this.#expect('in')
    const of = this.expression()
    this.#expect(':')
    let value = this.expression()
    let key: Expression | null = null
    if (end === '}') {
      this.#expect('=>')
      key = value
      value = this.expression()
    }
    const group = this.#take('...')
    const test = this.#match(/if\b/y) === null ? null : this.expression()
    this.#expect(end)
    return { kind: 'for', names, of, key, value, test, group }
  }

  #list<T>(end: string, item: () => T): T[] {
    const items: T[] = []
    while (!this.#take(end)) {
      items.push(item())
      if (!this.#take(',') && !this.#sees(end)) this.#fail(`Missing "${end}"`)
    }
    return items
  }

  /** A template up to the closing quote, or a whole file, which has no escapes. */
  template(end: '"' | null): Expression {
    const parts: Expression[] = []
    let text = ''
    const flush = () => {
      if (text !== '') parts.push({ kind: 'literal', value: text })
      text = ''
    }
    for (;;) {
      const char = this.#text[this.#at]
      if (char === undefined && end !== null) this.#fail('Unterminated template string')
      if (char === undefined || char === end) break
      const two = this.#text.slice(this.#at, this.#at + 2)
      if (/^(?:\$\$|%%)\{/.test(this.#text.slice(this.#at, this.#at + 3))) {
        text += `${char}{`
        this.#at += 3
      } else if (two === '${') {
        flush()
        this.#at += 2
        if (this.#text[this.#at] === '~') this.#fail('The stand-in does not strip white space in templates')
        parts.push(this.#within(false, () => this.expression()))
        this.#expect('}')
      } else if (two === '%{') this.#fail('The stand-in does not evaluate template directives')
      else if (char === '\\' && end !== null) {
        const escaped = ESCAPES[two[1] ?? '']
        if (escaped === undefined) this.#fail('Invalid escape sequence')
        text += escaped
        this.#at += 2
      } else {
        text += char
        this.#at += 1
      }
    }
    if (end !== null) this.#at += 1
    flush()
    const [only = { kind: 'literal' as const, value: '' }] = parts
    // A template of only one interpolation keeps the type of its value.
    return parts.length > 1 || end === null ? { kind: 'template', parts } : only
  }

  #heredoc(): Expression {
    const opening = this.#match(/<<-?([A-Za-z_]\w*)\n/y) ?? this.#fail('Invalid heredoc')
    const word = opening.replace(/[<\n-]/g, '')
    const close = new RegExp(`^[ \\t]*${word}[ \\t]*$`, 'm').exec(this.#text.slice(this.#at))
    if (!close) return this.#fail('Unterminated template string')
    let lines = this.#text
      .slice(this.#at, this.#at + close.index)
      .split('\n')
      .slice(0, -1)
    this.#at += close.index + close[0].length
    if (opening.startsWith('<<-')) {
      const margin = Math.min(...lines.filter((line) => line.trim()).map((line) => line.search(/\S/)))
      lines = lines.map((line) => line.slice(margin))
    }
    return parseTemplate(lines.map((line) => `${line}\n`).join(''), this.#file)
  }

  #within<T>(lines: boolean, read: () => T): T {
    const before = this.#lines
    this.#lines = lines
    this.#skip()
    const value = read()
    this.#lines = before
    return value
  }

  /** White space and comments. */
  #skip(lines = !this.#lines): void {
    const space = lines ? /(?:\s|#.*|\/\/.*|\/\*[\s\S]*?\*\/)+/y : /(?:[^\S\n]|#.*|\/\/.*|\/\*[\s\S]*?\*\/)+/y
    space.lastIndex = this.#at
    if (space.test(this.#text)) this.#at = space.lastIndex
  }

  #sees(token: string): boolean {
    return this.#text.startsWith(token, this.#at)
  }

  #take(token: string, skip = true): boolean {
    if (skip) this.#skip()
    if (!this.#sees(token)) return false
    this.#at += token.length
    return true
  }

  #expect(token: string): void {
    if (!this.#take(token)) this.#fail(`Missing "${token}"`)
  }

  #match(pattern: RegExp): string | null {
    this.#skip()
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0] ?? null
    this.#at += found?.length ?? 0
    return found
  }

  #identifier(): string {
    return this.#match(IDENTIFIER) ?? this.#fail('Argument or block definition required')
  }

  #line(offset: number): number {
    return this.#text.slice(0, offset).split('\n').length
  }

  #fail(summary: string, line = this.#line(this.#at)): never {
    throw new Diagnostic(summary, `on ${this.#file} line ${line}`)
  }
}
