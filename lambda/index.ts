import { createHandler } from './handler.js'

export const handler = createHandler(process.env, (line) => process.stdout.write(`${line}\n`))
