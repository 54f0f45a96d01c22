import { expect } from 'chai'
import { findRoute } from '../../lambda/router.js'
import { ROUTES } from '../../lambda/routes.js'
import { failureSchema } from '../../src/lib/domain/contract/index.js'
import { type Code, httpStatusOf } from '../../src/lib/domain/errors.js'

describe('the routes', () => {
  for (const route of ROUTES) {
    it(`of ${route.name} have examples that match the contract`, () => {
      expect(route.examples.length).to.be.above(0)
      for (const { path, body, answer } of route.examples) {
        const [pathname = '', query = ''] = path.split('?')
        const found = findRoute({ method: route.method, path: pathname })
        expect(found.route).to.equal(route)
        expect(route.parameters?.safeParse(found.parameters).success ?? true).to.equal(true)
        const asked = Object.fromEntries([...new URLSearchParams(query)].map(([name, text]) => [name, Number(text)]))
        expect(route.query?.safeParse(asked).success ?? query === '').to.equal(true)
        if (body) expect(route.body?.safeParse(body).data).to.deep.equal(body)
        const failed = failureSchema.safeParse(answer.body)
        if (failed.success) {
          const code = failed.data.error.code as Code
          expect(route.codes).to.include(code)
          expect([answer.status, failed.data]).to.deep.equal([httpStatusOf(code), answer.body])
        } else {
          expect(answer.status).to.equal(route.answer.status)
          expect(JSON.stringify(route.answer.schema.safeParse(answer.body).data)).to.equal(JSON.stringify(answer.body))
        }
      }
    })
  }

  it('have unique names and paths', () => {
    expect(new Set(ROUTES.map(({ name }) => name)).size).to.equal(ROUTES.length)
    expect(new Set(ROUTES.map(({ method, path }) => `${method} ${path}`)).size).to.equal(ROUTES.length)
  })
})
