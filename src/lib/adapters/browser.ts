import { execa } from 'execa'
import type { Env } from './settings.js'

/** The program that opens an address: BROWSER, else the system's. */
function openerOf(env: Env, platform: NodeJS.Platform): [program: string, ...args: string[]] {
  if (env.BROWSER) return [env.BROWSER]
  if (platform === 'darwin') return ['open']
  return platform === 'win32' ? ['cmd', '/c', 'start', ''] : ['xdg-open']
}

const STARTED_WITHIN_MS = 3_000

/** Opens an address in the browser. False if no program can. */
export async function openInBrowser(url: string, env: Env): Promise<boolean> {
  const [program, ...args] = openerOf(env, process.platform)
  const opener = execa(program, [...args, url], { stdio: 'ignore', detached: true, cleanup: false, reject: false })
  opener.unref()
  let timer: NodeJS.Timeout | undefined
  // Some openers run as long as the browser.
  const stays = new Promise<true>((resolve) => {
    timer = setTimeout(() => resolve(true), STARTED_WITHIN_MS)
  })
  const opened = await Promise.race([opener.then(({ failed }) => !failed), stays])
  clearTimeout(timer)
  return opened
}
