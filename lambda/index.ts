import { secretsPorts } from './context.js'
import { createHandlerWithSecrets } from './storedSecrets.js'

const log = (line: string) => process.stdout.write(`${line}\n`)

export const handler = createHandlerWithSecrets(process.env, log, { ...secretsPorts(process.env), emit: log })
