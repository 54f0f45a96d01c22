import { generateKeyPairSync, sign } from 'node:crypto'
import { expect } from 'chai'
import { Faults } from '../../sandbox/faults.js'
import { Apps, type GitHubAppOptions } from '../../sandbox/github/apps.js'
import { githubEndpoint } from '../../sandbox/github/endpoint.js'
import { GitHub } from '../../sandbox/github/github.js'

const keys = generateKeyPairSync('rsa', { modulusLength: 2048 })
const OPTIONS: GitHubAppOptions = {
  appId: '7',
  installationId: '8',
  publicKey: keys.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  permissions: { contents: 'read' },
}
const part = (data: object) => Buffer.from(JSON.stringify(data)).toString('base64url')

function jwt(claims: object = {}, header: object = { alg: 'RS256', typ: 'JWT' }): string {
  const now = Math.floor(Date.now() / 1000)
  const text = `${part(header)}.${part({ iss: '7', iat: now - 30, exp: now + 570, ...claims })}`
  return `${text}.${sign('RSA-SHA256', Buffer.from(text), keys.privateKey).toString('base64url')}`
}

describe('sandbox: GitHub App', () => {
  const mint = async (token: string, body = '', options: Partial<GitHubAppOptions> = {}) => {
    const result = await new Apps({ ...OPTIONS, ...options }, 'acme/fleet').mint('8', token, body)
    return result.ok ? result.minted.permissions : `${result.status} ${result.message}`
  }

  it("accepts only a valid JWT, by GitHub's rules", async () => {
    const now = Math.floor(Date.now() / 1000)
    expect(await mint(jwt())).to.deep.equal({ contents: 'read', metadata: 'read' })
    expect(await mint(jwt({ iss: 7 }))).to.be.an('object')
    const [head, claims] = jwt().split('.')
    for (const [token, words] of [
      ['', 'could not be decoded'],
      ['a.b.c', 'could not be decoded'],
      [`${head}.${claims}.`, 'could not be decoded'],
      [`${head}.${claims}.${jwt({ exp: now + 1 }).split('.')[2]}`, 'could not be decoded'],
      [jwt({}, { alg: 'none' }), 'could not be decoded'],
      [jwt({}, { alg: 'HS256' }), 'could not be decoded'],
      [jwt({ exp: 'soon' }), 'could not be decoded'],
      [jwt({ exp: now + 700 }), 'too far in the future'],
      [jwt({ exp: now - 60 }), 'must be a numeric value'],
      [jwt({ iat: now + 60 }), "('iat')"],
      [jwt({ iss: '9' }), 'Integration not found'],
    ] as const) {
      expect(await mint(token)).to.include(words)
    }
  })

  it('restricts the granted permissions, and never extends them', async () => {
    expect(await mint(jwt(), '{"permissions":{"contents":"write"}}')).to.match(/^422 .*permissions requested/)
    expect(await mint(jwt(), '{"repositories":["other"]}')).to.match(/^422 .*not accessible/)
    expect(await mint(jwt(), '{"permissions":"all"}')).to.match(/^422/)
    expect(await mint(jwt(), '', { suspended: true })).to.match(/^403 .*suspended/)
  })

  it('allows a token to write only what it was granted', async () => {
    const none = { workflowDir: '', workDir: '', readFile: async () => null, faults: new Faults() }
    const app = { ...OPTIONS, permissions: { issues: 'read' } }
    const github = new GitHub({ ...none, repository: 'acme/fleet', token: 't', app })
    const minted = await github.apps?.mint('8', jwt(), '')
    const endpoint = await githubEndpoint(github)
    try {
      const ask = (init: object) =>
        fetch(`${endpoint.url}/repos/acme/fleet/issues`, {
          headers: { authorization: `Bearer ${minted?.ok && minted.minted.token}` },
          ...init,
        })
      expect((await ask({})).status).to.equal(200)
      expect((await ask({ method: 'POST', body: '{"title":"T"}' })).status).to.equal(403)
      expect(github.issues).to.have.length(0)
    } finally {
      await endpoint.close()
    }
  })

  it('refuses an expired token', async () => {
    const apps = new Apps({ ...OPTIONS, tokenLifeMs: -1_000 }, 'acme/fleet')
    const result = await apps.mint('8', jwt(), '')
    expect(result.ok && apps.tokenOf(result.minted.token)).to.equal(null)
  })
})
