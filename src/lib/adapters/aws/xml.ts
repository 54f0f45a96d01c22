/**
 * What is wanted of an element of an AWS API's XML: its text, a list of its `item`s, or some of its children by name,
 * of which `flat` ones may be there many times. Everything else is passed over.
 */
export type Shape = 'text' | readonly [Shape] | { readonly [name: string]: Shape | Flat }
type Flat = readonly ['flat', Shape]

/** What a shape is read as; what is not in the document is undefined. */
export type Texts<S extends Shape> = S extends 'text'
  ? string
  : S extends readonly [infer Item extends Shape]
    ? Texts<Item>[]
    : {
        -readonly [Name in keyof S]?: S[Name] extends readonly ['flat', infer Item extends Shape]
          ? Texts<Item>[]
          : S[Name] extends Shape
            ? Texts<S[Name]>
            : never
      }

/** Null for what is not a plain document with this root: comments, CDATA, what is cut off. */
export function readXml<const S extends Shape>(xml: string, root: string, shape: S): Texts<S> | null {
  try {
    const reader = new Reader(xml)
    let tag = reader.next()
    if (tag.startsWith('?')) tag = reader.next()
    if (nameOf(tag) !== root) return null
    return reader.read(tag, shape) as Texts<S>
  } catch (error) {
    if (error instanceof NotPlain) return null
    throw error
  }
}

class NotPlain extends Error {}

class Reader {
  readonly #xml: string
  /** After the tag that was read last. */
  #at = 0

  constructor(xml: string) {
    this.#xml = xml
  }

  /** The next tag without its brackets. */
  next(): string {
    const open = this.#xml.indexOf('<', this.#at)
    const close = this.#xml.indexOf('>', open)
    if (open < 0 || close < 0 || this.#xml[open + 1] === '!') throw new NotPlain()
    this.#at = close + 1
    return this.#xml.slice(open + 1, close)
  }

  /** What stands between an opening tag, which was read, and its closing one. */
  read(tag: string, shape: Shape): unknown {
    if (shape === 'text') return this.#text(tag)
    const into = Array.isArray(shape) ? [] : {}
    if (tag.endsWith('/')) return into
    for (let child = this.next(); child[0] !== '/'; child = this.next()) {
      const name = nameOf(child)
      if (Array.isArray(into)) {
        if (name === 'item') into.push(this.read(child, (shape as readonly [Shape])[0]))
        else this.#skip(child)
      } else if (Object.hasOwn(shape as object, name)) {
        this.#readChild(into, child, name, (shape as Record<string, Shape | Flat>)[name] as Shape | Flat)
      } else this.#skip(child)
    }
    return into
  }

  #readChild(into: Record<string, unknown>, tag: string, name: string, wanted: Shape | Flat): void {
    if (wanted[0] !== 'flat') into[name] = this.read(tag, wanted as Shape)
    else {
      const items = (into[name] as unknown[] | undefined) ?? []
      items.push(this.read(tag, wanted[1] as Shape))
      into[name] = items
    }
  }

  #text(tag: string): string {
    if (tag.endsWith('/')) return ''
    const from = this.#at
    if (this.next()[0] !== '/') throw new NotPlain()
    return decoded(this.#xml.slice(from, this.#xml.indexOf('<', from)))
  }

  #skip(tag: string): void {
    let depth = tag.endsWith('/') ? 0 : 1
    while (depth > 0) {
      const child = this.next()
      if (child[0] === '/') depth -= 1
      else if (!child.endsWith('/')) depth += 1
    }
  }
}

/** Without attributes: only a root carries any, its namespace. */
function nameOf(tag: string): string {
  const end = tag.search(/[\s/]/)
  return end < 0 ? tag : tag.slice(0, end)
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function decoded(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(/&(?:#x([0-9a-f]+)|#([0-9]+)|([a-z]+));/gi, (_all, hex, decimal, name) => {
    if (name !== undefined) {
      const character = ENTITIES[name]
      if (character === undefined) throw new NotPlain()
      return character
    }
    const point = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
    if (point > 0x10ffff) throw new NotPlain()
    return String.fromCodePoint(point)
  })
}
