import type { Agent, AgentOptions } from 'node:http'
import { ClawctlError } from '../domain/errors.js'

/**
 * How long one address of a name may take. Node's own 250 ms never connect over a link of 300 ms round trip to a
 * dual-stack name; 2.5 s are a round trip of 1 s with one lost packet, which the kernel sends again after 1 s.
 */
export const ADDRESS_TIMEOUT_MS = 2_500

/** For all addresses of a name together, with TLS and a proxy: after a dead IPv6 route there is time for IPv4. */
export const CONNECT_TIMEOUT_MS = 10_000

const VARIABLES = ['HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY'].flatMap((name) => [name, name.toLowerCase()])
const LOOPBACK = /^(?:localhost|127\.[\d.]+|\[::1\])$/

/**
 * The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name for this URL, or null. Never one for loopback
 * addresses. The library is loaded only if a variable is set.
 * @throws ClawctlError NOT_CONFIGURED if the variable's value is not an http or https URL
 */
export async function proxyFor(url: URL): Promise<URL | null> {
  if (LOOPBACK.test(url.hostname) || !VARIABLES.some((name) => process.env[name])) return null
  const { getProxyForUrl } = await import('proxy-from-env')
  const found = getProxyForUrl(url.href)
  if (found === '') return null
  // Without a scheme, the proxy is used over HTTP, as curl does.
  const named = VARIABLES.some((name) => process.env[name] === found)
  const text = named ? found : found.replace(/^https:/, 'http:')
  const proxy = URL.canParse(text) ? new URL(text) : null
  if (proxy && /^https?:$/.test(proxy.protocol)) return proxy
  throw new ClawctlError(
    'NOT_CONFIGURED',
    `The proxy for ${url.host} is not a URL that begins with http:// or https://.`,
    {
      hint: 'Correct HTTPS_PROXY, or add the host to NO_PROXY.',
    },
  )
}

/**
 * The connections of one client, with time limits for slow links, and through the environment's proxy if there is one.
 * @param url any of the client's URLs; its protocol and host choose
 * @param proxy the result of `proxyFor(url)`
 */
export async function createAgent(url: URL, proxy: URL | null, options: AgentOptions = {}): Promise<Agent> {
  const secure = url.protocol === 'https:'
  const patient = { ...options, autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS }
  if (!proxy) return new (httpModuleOf(url).Agent)(patient)
  const { HttpProxyAgent, HttpsProxyAgent } = await import('hpagent')
  const proxyRequestOptions = { autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS } as object
  return new (secure ? HttpsProxyAgent : HttpProxyAgent)({ ...patient, proxy, proxyRequestOptions })
}

/** An import would also build the module's namespace, which costs more than the module. */
export function httpModuleOf(url: URL) {
  return process.getBuiltinModule(url.protocol === 'https:' ? 'node:https' : 'node:http')
}
