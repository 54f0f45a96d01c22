import { expect } from 'chai'
import { createIssues } from '../../../src/lib/adapters/github/issues.js'
import { failureOf } from '../../support/failure.js'
import { GITHUB_TOKEN, startPlane, type TestPlane } from '../../support/plane.js'
import { json, type Responder, startServer } from '../../support/server.js'

describe('createIssues', () => {
  const open = (apiUrl: string, token = GITHUB_TOKEN) =>
    createIssues({ apiUrl, token: async () => token, owner: 'acme', repo: 'fleet', userAgent: 'clawctl/test' })

  describe('against the emulated GitHub', () => {
    let plane: TestPlane
    before(async () => {
      plane = await startPlane()
    })
    after(() => plane.close())

    it('opens, finds, updates, comments on and closes an issue', async () => {
      const issues = open(plane.githubUrl)
      const { number, url } = await issues.create({ title: 'T', body: 'one', label: 'fleet-drift' })
      await issues.create({ title: 'Other', body: 'x', label: 'bug' })
      expect(url).to.match(new RegExp(`/issues/${number}$`))
      await issues.update(number, 'two')
      expect(await issues.open('fleet-drift')).to.deep.equal([{ number, url, body: 'two' }])
      await issues.close(number, 'over')
      expect(await issues.open('fleet-drift')).to.deep.equal([])
    })

    it('reports a refused token without showing it', async () => {
      const error = await failureOf(open(plane.githubUrl, 'ghp_not_accepted').open('x'))
      expect(error.code).to.equal('DENIED')
      expect(`${error.message} ${error.hint}`).not.to.include('ghp_not_accepted')
    })
  })

  describe('when GitHub fails', () => {
    const answers = async (respond: Responder, work: (apiUrl: string) => Promise<unknown>) => {
      const server = await startServer(respond)
      try {
        const error = await failureOf(work(server.url))
        return { code: error.code, asked: server.received.length }
      } finally {
        await server.close()
      }
    }

    it('retries reads, but never opens a second issue', async () => {
      const failing: Responder = json(502, { message: 'Server Error' })
      expect(await answers(failing, (url) => open(url).open('x'))).to.deep.equal({ code: 'UPSTREAM', asked: 3 })
      const create = (url: string) => open(url).create({ title: 't', body: 'b', label: 'l' })
      expect(await answers(failing, create)).to.deep.equal({ code: 'UPSTREAM', asked: 1 })
    })

    it('distinguishes a rate limit, a refusal and a foreign answer', async () => {
      const read = (url: string) => open(url).open('x')
      const limited = json(403, { message: 'You have exceeded a secondary rate limit.' })
      expect((await answers(limited, read)).code).to.equal('RATE_LIMITED')
      expect((await answers(json(403, { message: 'Resource not accessible' }), read)).code).to.equal('DENIED')
      expect((await answers(json(410, { message: 'Issues are disabled' }), read)).code).to.equal('DENIED')
      const server = await startServer(json(404, { message: 'Not Found' }))
      const missing = await failureOf(read(server.url))
      await server.close()
      expect([missing.code, missing.message]).to.deep.equal([
        'DENIED',
        'The repository acme/fleet does not exist, or the token has no access to its issues (404).',
      ])
      expect((await answers(json(200, { issues: [] }), read)).code).to.equal('UPSTREAM')
    })
  })
})
