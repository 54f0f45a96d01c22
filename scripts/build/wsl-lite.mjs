import { release } from 'node:os'

/** Stands for `wsl-utils`, which oclif loads at every start, with child_process behind it, to learn this one thing. */
export const isWsl = process.platform === 'linux' && release().toLowerCase().includes('microsoft')
export const powerShellPath = async () => 'powershell.exe'
