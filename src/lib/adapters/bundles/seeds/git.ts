import { execa } from 'execa'
import { ClawctlError, fullDisk } from '../../../domain/errors.js'
import { withRetry } from '../../retry.js'
import type { Env } from '../../settings.js'

/** git as a child process without the user's configuration, so that the same commit gives the same bytes. */
export interface Git {
  /** Standard output. @throws ClawctlError UPSTREAM with the message `failed` and git's output in `details`; NOT_WRITABLE, TOOL_MISSING */
  run(args: readonly string[], options: { failed: string; input?: string; network?: boolean }): Promise<string>
}

/** A clone of a gigabyte over a slow line. */
const NETWORK_MS = 600_000
const LOCAL_MS = 300_000
/** The part of git's output in an error; the last lines have the reason. */
const MAX_LINES = 5
const VERDICT = /^(?:fatal|error): /
const TRANSIENT =
  /timed out|could not resolve host|connection (?:was )?(?:reset|refused|closed)|HTTP 5\d\d|error: 5\d\d|error: 429|early EOF|RPC failed|unexpected disconnect/i
const FULL = /No space left on device|Disk quota exceeded/

export function createGit(env: Env, token: string | undefined): Git {
  const own = gitEnvironment(env, token)
  return {
    async run(args, { failed, input, network }) {
      const once = async () => {
        const result = await execa('git', [...args], {
          env: own,
          extendEnv: false,
          reject: false,
          timeout: network ? NETWORK_MS : LOCAL_MS,
          maxBuffer: 512 * 1024 * 1024,
          stripFinalNewline: true,
          ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
        })
        if (!result.failed) return result.stdout
        if (result.code === 'ENOENT') {
          throw new ClawctlError('TOOL_MISSING', 'git is not installed.', { hint: 'Install git, or put it into PATH.' })
        }
        const words = result.timedOut ? 'it took too long' : withoutToken(result.stderr, token)
        const lines = words
          .split('\n')
          .map((line) => line.trim())
          .filter(Boolean)
          .slice(-MAX_LINES)
        if (FULL.test(words)) throw fullDisk(failed, result)
        // Lines after the error are advice.
        const said = lines.find((line) => VERDICT.test(line)) ?? lines.at(-1) ?? `git ended with ${result.exitCode}`
        throw new ClawctlError('UPSTREAM', `${failed}: ${said.replace(VERDICT, '').replace(/\.+$/, '')}.`, {
          hint: 'Check URL, branch and GITHUB_TOKEN, then run it again. Nothing was uploaded.',
          details: lines.filter((line) => line !== said),
        })
      }
      if (!network) return once()
      const retryable = (error: unknown) => {
        const { message, details = [] } = error as ClawctlError
        return TRANSIENT.test([message, ...details].join('\n'))
      }
      return withRetry(once, { retryable })
    },
  }
}

/**
 * Passes the token through the environment, as a header for GitHub only: an argument would be visible in `ps`, and a URL
 * would stay in the clone's configuration.
 */
function gitEnvironment(env: Env, token: string | undefined): Record<string, string> {
  const server = env.GITHUB_SERVER_URL ?? 'https://github.com'
  const settings: [string, string][] = [
    ['http.lowSpeedLimit', '1000'],
    ['http.lowSpeedTime', '60'],
    ['gc.auto', '0'],
    ['maintenance.auto', 'false'],
    ['core.hooksPath', '/dev/null'],
    ['core.fsmonitor', 'false'],
    ...(token
      ? [[`http.${server}/.extraHeader`, `Authorization: Basic ${btoa(`x-access-token:${token}`)}`] as [string, string]]
      : []),
  ]
  return {
    ...Object.fromEntries(
      Object.entries(env).flatMap(([name, value]) =>
        value === undefined || /^GIT_|^GITHUB_TOKEN$|^AWS_|^CLAWDINATOR_/.test(name) ? [] : [[name, value]],
      ),
    ),
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    SSH_ASKPASS_REQUIRE: 'never',
    GIT_SSH_COMMAND: 'ssh -o BatchMode=yes -o ConnectTimeout=20',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ALLOW_PROTOCOL: 'https:http:ssh:file',
    GIT_CONFIG_COUNT: String(settings.length),
    ...Object.fromEntries(
      settings.flatMap(([key, value], index) => [
        [`GIT_CONFIG_KEY_${index}`, key],
        [`GIT_CONFIG_VALUE_${index}`, value],
      ]),
    ),
  }
}

function withoutToken(text: string, token: string | undefined): string {
  return token ? text.replaceAll(token, '***').replaceAll(btoa(`x-access-token:${token}`), '***') : text
}
