import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { expect } from 'chai'
import * as fc from 'fast-check'
import * as yaml from 'yaml'
import { ROUTES } from '../../lambda/routes.js'
import { idleNotes, openApi, openApiText } from '../../scripts/openapi.js'
import { orderSchema } from '../../src/lib/domain/contract/index.js'
import { answerProblems, controlApiDescription } from '../support/heldToContract.js'
import { ROOT } from '../support/plane.js'

type Json = Record<string, unknown>
const FILE = 'docs/control-api.openapi.yaml'
const at = (path: string) => new URL(path, 'http://127.0.0.1')

describe(FILE, () => {
  const text = readFileSync(join(ROOT, FILE), 'utf8')

  it('matches the code (npm run docs updates it)', () => {
    expect(text).to.equal(openApiText())
    expect(yaml.parse(text)).to.deep.equal(openApi())
  })

  it("is valid by OpenAPI 3.1's own schema", () => {
    const meta = JSON.parse(readFileSync(join(ROOT, 'test/support/openapi-3.1.json'), 'utf8')) as object
    const ajv = new Ajv2020({ strict: false, allErrors: true })
    formats.default(ajv)
    ajv.addFormat('media-range', true)
    const validate = ajv.compile(meta)
    const problems = (document: object) => (validate(document) ? [] : (validate.errors ?? []))
    expect(problems(yaml.parse(text))).to.deep.equal([])
    expect(problems({ ...openApi(), paths: [] })).not.to.deep.equal([])
  })

  it('has schemas that a strict validator accepts', () => {
    const { schemas } = (yaml.parse(text) as { components: { schemas: Record<string, object> } }).components
    const ajv = new Ajv2020({ strict: true, strictTypes: true, allowUnionTypes: true })
    formats.default(ajv)
    for (const [name, schema] of Object.entries(schemas)) ajv.addSchema(schema, `#/components/schemas/${name}`)
    for (const name of Object.keys(schemas))
      expect(ajv.getSchema(`#/components/schemas/${name}`), name).to.be.a('function')
  })

  it('has patterns for every regular expression engine: no lookaround, no Unicode classes', () => {
    const patterns = [...text.matchAll(/^ *pattern: (.+)$/gm)].map(([, pattern = '']) => pattern)
    expect(patterns.length).to.be.above(10)
    expect(patterns.filter((pattern) => /\\p|\(\?/i.test(pattern))).to.deep.equal([])
  })

  it('has every route and code, and no unused note', () => {
    const { paths, components } = yaml.parse(text) as { paths: Record<string, Json>; components: Json }
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    )
    expect(operations.sort()).to.deep.equal(ROUTES.map(({ method, path }) => `${method} ${path}`).sort())
    for (const { codes, path, method } of ROUTES) {
      const own = JSON.stringify([paths[path]?.[method.toLowerCase()], components])
      for (const code of codes) expect(own).to.include(`\`${code}\``)
    }
    expect(idleNotes()).to.deep.equal([])
  })

  it('has examples that are valid by their own schemas', async () => {
    const description = await controlApiDescription()
    for (const { method, examples, name } of ROUTES) {
      expect(examples, name).not.to.deep.equal([])
      for (const { path, body, answer } of examples) {
        const sent = { method, url: at(path), body: body ? JSON.stringify(body) : '' }
        expect(description.request(sent), name).to.deep.equal([])
        expect(await answerProblems(method, at(path), answer.status, JSON.stringify(answer.body))).to.deep.equal([])
      }
    }
  })

  it('detects an additional or missing field, a foreign code and an unknown status', async () => {
    const [{ answer, path } = expect.fail()] = ROUTES.find(({ name }) => name === 'fleet')?.examples ?? []
    const good = structuredClone(answer.body) as { ok: boolean; fleet: { instances: Json[] } }
    const problems = (body: unknown, status = 200) => answerProblems('GET', at(path), status, JSON.stringify(body))
    const changed = (change: Json) => ({ ok: true, fleet: { ...good.fleet, ...change } })
    const failure = (code: string) => ({ ok: false, error: { code, message: 'x' } })
    expect(await problems(good)).to.deep.equal([])
    expect(await problems(failure('UPSTREAM'), 502)).to.deep.equal([])
    for (const wrong of [
      problems({ ...good, more: 1 }),
      problems(changed({ instances: [{ ...good.fleet.instances[0], token: 'x' }] })),
      problems(changed({ instances: [{ ...good.fleet.instances[0], launchedAt: 'yesterday' }] })),
      problems(changed({ latestAmi: undefined })),
      problems(failure('UPSTREAM'), 401),
      problems(failure('USAGE'), 502),
      problems(failure('UPSTREAM'), 418),
      problems({ ...failure('UPSTREAM'), stack: 'at …' }, 502),
    ]) {
      expect(await wrong).not.to.deep.equal([])
    }
  })

  it('accepts no request that the server would refuse for its form', async () => {
    const description = await controlApiDescription()
    const anything = fc.oneof(
      fc.string({ maxLength: 70 }),
      fc.string({ unit: 'grapheme', maxLength: 70 }),
      fc.integer(),
    )
    const id = fc.stringMatching(/^[A-Za-z0-9-]{0,70}$/)
    const blanks = fc.constantFrom(' ', '\t', '\u2028', ' Jo ', '\u00a0')
    fc.assert(
      fc.property(
        fc.record(
          {
            target: fc.oneof(id, anything),
            caller: id,
            requestedBy: fc.oneof(blanks, anything),
            requestId: id,
            more: id,
          },
          { requiredKeys: [] },
        ),
        (request) => {
          if (description.value('Order', request).length > 0) return
          expect(orderSchema.safeParse(request).success, JSON.stringify(request)).to.equal(true)
        },
      ),
      { numRuns: 1500 },
    )
  })
})
