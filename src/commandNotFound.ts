import type { Hook } from '@oclif/core/hooks'
import { unknownCommand } from './lib/cli/failure.js'

/** oclif's hook for what is neither a command nor a topic: it would print a bare "not found". */
const commandNotFound: Hook.CommandNotFound = async ({ id, config }) => {
  throw unknownCommand(id, config)
}
export default commandNotFound
