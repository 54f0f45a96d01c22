/** The parsed value; `undefined` if the text is not JSON: the schema that checks it next reports what it expected. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
