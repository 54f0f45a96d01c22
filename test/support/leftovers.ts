import { readdirSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { surroundings, temporaryFolder } from './cli.js'

/** Processes whose environment or command line contains the folder (Linux only). */
function processesIn(folder: string): string[] {
  try {
    return readdirSync('/proc').filter((pid) => {
      if (!/^\d+$/.test(pid) || pid === String(process.pid)) return false
      try {
        const text = readFileSync(`/proc/${pid}/environ`, 'utf8') + readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return text.includes(folder)
      } catch {
        return false
      }
    })
  } catch {
    return []
  }
}

/** Waits until everything of a killed process is gone, and returns what still exists. */
export async function leftIn(folder: string): Promise<{ files: string[]; processes: string[] }> {
  for (let attempt = 0; ; attempt += 1) {
    const left = { files: readdirSync(folder), processes: processesIn(folder) }
    if (attempt >= 600 || left.files.length + left.processes.length === 0) return left
    await sleep(100)
  }
}

export const NOTHING = { files: [], processes: [] }

/** For a suite: makes environments, each with its own folder for temporary files, to see what stays in it. */
export function temporaryFolders(): () => Promise<{ folder: string; env: Record<string, string> }> {
  const files = temporaryFolder()
  let folders = 0
  return async () => {
    folders += 1
    const folder = files.path(`tmp-${folders}`)
    await mkdir(folder)
    return { folder, env: { ...surroundings(), TMPDIR: folder } }
  }
}
