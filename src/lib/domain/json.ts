import type * as z from 'zod/mini'

/** The parsed value; `undefined` if the text is not JSON: the schema that checks it next reports what it expected. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The text by its schema; null if there is no text, it is not JSON, or the schema refuses it. */
export function parseAs<T>(schema: z.ZodMiniType<T>, text: string | null | undefined): T | null {
  if (text === null || text === undefined) return null
  const parsed = schema.safeParse(parseJson(text))
  return parsed.success ? parsed.data : null
}
