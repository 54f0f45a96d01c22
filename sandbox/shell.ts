/** One word of a POSIX shell, whatever is in it. */
export const shellQuote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
