import { expect } from 'chai'
import type { Deploy } from '../../../src/lib/domain/contract/index.js'
import { withoutSteps } from '../../../src/lib/domain/deploy/run.js'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import type { FollowOptions } from '../../../src/lib/ops/deploy/followDeploy.js'
import { followRequest } from '../../../src/lib/ops/deploy/followRequest.js'
import { failureOf } from '../../support/failure.js'
import { detailOf, upstream } from '../../support/fakes.js'

const IDS = ['7d9b0c5e-3f52-4a53-9d7a-0c1f6b6d2a11', '7d9b11aa-0000-4a53-9d7a-0c1f6b6d2a12', 'request-0001']
const MINUTE = 60_000
const NOT_FOUND = new ClawctlError('NOT_FOUND', 'No such deploy.')

function plane(answer: ReturnType<typeof detailOf> | Error, deploys: Deploy[] | Error = []) {
  const asked: FollowOptions[] = []
  const looks: number[] = []
  return {
    asked,
    looks,
    async follow(options: FollowOptions) {
      asked.push(options)
      if (answer instanceof Error) throw answer
      return answer
    },
    async deploys(limit: number) {
      looks.push(limit)
      if (deploys instanceof Error) throw deploys
      return deploys
    },
  }
}

const known = () => IDS.map((requestId) => withoutSteps(detailOf({ requestId })))

describe('followRequest', () => {
  it('returns a successful deploy without its steps', async () => {
    const over = plane(detailOf({ status: 'succeeded' }))
    const deploy = await followRequest('20000000001', MINUTE, over)
    expect(deploy).to.include({ status: 'succeeded' }).and.not.have.property('steps')
    expect(over.asked).to.deep.equal([{ requestId: '20000000001', timeoutMs: MINUTE, listedWithinMs: 3000 }])
  })

  it("fails with the outcome's code", async () => {
    const error = { code: 'ROLLED_BACK', message: 'It runs the old one.' } as const
    const failure = await failureOf(
      followRequest('request-0001', MINUTE, plane(detailOf({ status: 'rolled-back', error }))),
    )
    expect(failure.code).to.equal('ROLLED_BACK')
    expect(failure.partial?.deploy).to.include({ status: 'rolled-back' })
  })

  for (const [text, meant] of [
    ['request-0002', 'request-0001'],
    ['7d9b0c5e-3f52-4a53-9d7a-0c1f6b6d2a10', IDS[0]],
    ['something-else-altogether', undefined],
    ['../7d9b0c5e', undefined],
    ['', undefined],
  ] as const) {
    it(`suggests for ${JSON.stringify(text)}: ${meant ?? 'the command that lists the ids'}`, async () => {
      const error = await failureOf(followRequest(text, MINUTE, plane(NOT_FOUND, known())))
      expect(error).to.include({ code: 'NOT_FOUND' })
      expect(error.message).to.include(JSON.stringify(text))
      expect(error.hint).to.equal(`${meant ? `Did you mean ${meant}? ` : ''}See \`clawctl fleet history\` for the ids.`)
    })
  }

  for (const text of ['7d9b0', '7d9b0c5e', '7d9b0c5e-3f52-4a53-9d7a-0c1f6b6d2a1', IDS[0] as string]) {
    it(`follows the only deploy whose id begins with ${text}`, async () => {
      const over = plane(detailOf({ status: 'succeeded' }), known())
      await followRequest(text, MINUTE, over)
      expect(over.asked.map(({ requestId }) => requestId)).to.deep.equal([IDS[0]])
    })
  }

  it('requires more characters if several ids begin with the text, and follows none', async () => {
    const several = plane(NOT_FOUND, known())
    const error = await failureOf(followRequest('7d9b', MINUTE, several))
    expect(error).to.include({ code: 'NOT_FOUND' })
    expect(error.hint).to.include(IDS[0]).and.include(IDS[1])
    expect(several.asked).to.deep.equal([])
  })

  for (const [text, looks] of [
    ['2000000000', 0],
    [IDS[0], 0],
    [`x${IDS[0]}`, 1],
    [`${IDS[0]}x`, 1],
    ['200000000', 1],
  ] as [string, number][]) {
    it(`reads ${looks ? 'the history' : 'no history'} to follow ${text}`, async () => {
      const over = plane(detailOf({ status: 'succeeded' }), known())
      await followRequest(text, MINUTE, over)
      expect(over.looks).to.have.length(looks)
    })
  }

  it('follows the deploy with exactly this id, although others begin with it', async () => {
    const longer = ['request-0001', 'request-00011'].map((requestId) => withoutSteps(detailOf({ requestId })))
    const over = plane(detailOf({ status: 'succeeded' }), longer)
    await followRequest('request-0001', MINUTE, over)
    expect(over.asked.map(({ requestId }) => requestId)).to.deep.equal(['request-0001'])
  })

  it('names five of many ids, and limits the length of the shown text', async () => {
    const many = Array.from({ length: 7 }, (_, n) => withoutSteps(detailOf({ requestId: `request-000${n}` })))
    const error = await failureOf(followRequest('request', MINUTE, plane(NOT_FOUND, many)))
    expect(error.message).to.match(/^7 deploys/)
    expect(error.hint).to.match(/: request-0000, .*, request-0004\.$/)
    const long = await failureOf(followRequest('x'.repeat(300), MINUTE, plane(NOT_FOUND, many)))
    expect(long.message).to.have.length.below(130)
  })

  it("sends no request for text that can't be an id", async () => {
    const none = plane(NOT_FOUND, known())
    await failureOf(followRequest('a b', MINUTE, none))
    expect(none.asked).to.deep.equal([])
  })

  it("reports a missing deploy although the history can't be read", async () => {
    expect((await failureOf(followRequest('request-0009', MINUTE, plane(NOT_FOUND, upstream())))).code).to.equal(
      'NOT_FOUND',
    )
  })

  it('passes on other failures unchanged', async () => {
    expect((await failureOf(followRequest('request-0001', MINUTE, plane(upstream(), known())))).code).to.equal(
      'UPSTREAM',
    )
  })
})
