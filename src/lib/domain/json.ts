/** `undefined` for what is not JSON: the schema that looks at it next then says what was expected. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
