import type { Node } from 'jsonc-parser'

export interface Property {
  name: string
  key: Node
  value: Node
}

/** The properties of an object in the file's order, repeated ones included. */
export function properties(node: Node): Property[] {
  return (node.children ?? []).flatMap((property) => {
    const [key, value] = property.children ?? []
    return key && value ? [{ name: String(key.value), key, value }] : []
  })
}

export const endOf = (node: Node) => node.offset + node.length
