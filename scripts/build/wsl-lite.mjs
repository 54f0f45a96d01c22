import { release } from 'node:os'

/** Replaces `wsl-utils`, which oclif loads at each start, with child_process, only for this value. */
export const isWsl = process.platform === 'linux' && release().toLowerCase().includes('microsoft')
export const powerShellPath = async () => 'powershell.exe'
