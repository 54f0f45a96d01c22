import { type Endpoint, listen } from '../http.js'
import type { GitHub } from './github.js'
import { failGitHub, handleGitHub } from './rest.js'

/** Serves the repository's REST API on loopback. */
export async function githubEndpoint(github: GitHub): Promise<Endpoint> {
  const endpoint = await listen({
    service: 'github',
    handle: (exchange) => handleGitHub(github, exchange),
    fail: failGitHub,
    faults: github.options.faults,
    ...(github.options.log ? { log: (request) => github.options.log?.(request) } : {}),
  })
  github.apiUrl = endpoint.url
  return endpoint
}
