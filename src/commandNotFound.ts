import type { Hook } from '@oclif/core/hooks'
import { unknownCommand } from './lib/cli/failure.js'

/** oclif's hook for an unknown command. Its own message would be a bare "not found". */
const commandNotFound: Hook.CommandNotFound = async ({ id, config }) => {
  throw unknownCommand(id, config)
}
export default commandNotFound
