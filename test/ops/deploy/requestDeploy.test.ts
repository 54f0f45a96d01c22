import { expect } from 'chai'
import { type Order, orderOfFlags } from '../../../src/lib/domain/contract/order.js'
import type { DeployOptions, Plane } from '../../../src/lib/ops/deploy/plane.js'
import { requestDeploy } from '../../../src/lib/ops/deploy/requestDeploy.js'
import { failureOf } from '../../support/failure.js'
import { detailOf, FakeProgress, registryOf } from '../../support/fakes.js'

interface Asked {
  target: string
  retire: boolean
  requestId: string
  amiOverride: string | undefined
  requestedBy: string | undefined
  caller: string | null
}
type Options = Parameters<typeof requestDeploy>[1]
type Ports = Parameters<typeof requestDeploy>[2]

const ASKED: Asked = {
  target: 'a',
  retire: false,
  requestId: 'request-0001',
  amiOverride: undefined,
  requestedBy: undefined,
  caller: null,
}
const OPTIONS: Options = {
  planOnly: false,
  onFailure: undefined,
  healthTimeoutMs: undefined,
  wait: false,
  waitTimeoutMs: 1,
  code: undefined,
}

function world(asked: Partial<Asked>, options: Partial<Options> = {}, ports: Partial<Ports> = {}) {
  const sent: [Order, DeployOptions][] = []
  const plane: Pick<Plane, 'deploy'> = {
    deploy: async (request, given) => {
      sent.push([request, given])
      return detailOf()
    },
  }
  const progress = new FakeProgress()
  let made = 0
  const all = { ...ASKED, ...asked }
  const request = async () => {
    const flags = {
      retire: all.retire,
      ami: all.amiOverride,
      'requested-by': all.requestedBy,
      'request-id': all.requestId,
    }
    const order = orderOfFlags(all.target, flags, { caller: all.caller, requestId: '' })
    return requestDeploy(
      order,
      { ...OPTIONS, ...options },
      {
        mode: 'agent',
        inRun: false,
        registry: registryOf('a', 'b'),
        progress,
        plane: async () => {
          made += 1
          return plane as Plane
        },
        ...ports,
      },
    )
  }
  const result = request()
  return { result, sent, progress, planes: () => made }
}

describe('requestDeploy', () => {
  it('sends only the given values', async () => {
    const bare = world({})
    await bare.result
    expect(bare.sent).to.deep.equal([
      [
        { target: 'a', requestId: 'request-0001' },
        { ...OPTIONS, onFailure: 'rollback', healthTimeoutMs: 15 * 60_000 },
      ],
    ])
    const full = world({ amiOverride: 'ami-1234abcd', requestedBy: ' Ada ', caller: 'b' })
    await full.result
    expect(full.sent[0]?.[0]).to.deep.equal({
      target: 'a',
      requestId: 'request-0001',
      amiOverride: 'ami-1234abcd',
      caller: 'b',
      requestedBy: 'Ada',
    })
  })

  it('passes on the options of the direct plane in ci mode', async () => {
    const { result, sent } = world({}, { planOnly: true, onFailure: 'stop' }, { mode: 'ci' })
    await result
    expect(sent[0]?.[1]).to.include({ planOnly: true, onFailure: 'stop' })
  })

  it('prints the request id before it sends the request, and names it in every failure', async () => {
    const { result, progress, planes } = world({ target: 'all' })
    const error = await failureOf(result)
    expect([progress.notes, planes()]).to.deep.equal([['request request-0001'], 0])
    expect(error.partial).to.deep.equal({ requestId: 'request-0001' })
  })

  it('sends a code without checking it', async () => {
    const { result, sent } = world({ target: 'all', requestedBy: 'Ada' }, { code: '123456' })
    await result
    expect(sent[0]?.[1]).to.include({ code: '123456' })
    expect(JSON.stringify(sent[0]?.[0])).not.to.include('123456')
  })

  it('leaves an unknown target to the plane without a registry', async () => {
    const { result, sent } = world({ target: 'zzz' }, {}, { registry: undefined })
    await result
    expect(sent).to.have.length(1)
  })

  it('leaves the decision to the plane in a workflow, where the person who started it counts as verified', async () => {
    const { result, sent } = world({ target: 'zzz', caller: 'b' }, {}, { mode: 'ci', inRun: true })
    await result
    const person = world({ target: 'all' }, {}, { mode: 'ci' })
    await person.result
    expect([sent.length, person.sent.length]).to.deep.equal([1, 1])
  })

  it('leaves a code without a name to the Control API, because only it reads people', async () => {
    const { result, sent } = world({ target: 'all' }, { code: '123456' })
    await result
    expect(sent).to.have.length(1)
  })

  describe('a retirement', () => {
    const retire = async (answer: boolean | null, asked: Partial<Asked> = {}, ports: Partial<Ports> = {}) => {
      const targets: string[] = []
      const confirm = async (target: string) => {
        targets.push(target)
        return answer === true
      }
      const gone = { target: 'gone', retire: true, requestedBy: 'Ada', ...asked }
      const { result, sent } = world(gone, {}, { ...(answer === null ? {} : { confirm }), ...ports })
      const code = await result.then(
        () => 'OK',
        ({ code }) => code,
      )
      return [code, sent.length, targets]
    }

    it('is sent after its confirmation, or without one if none is required', async () => {
      expect(await retire(true)).to.deep.equal(['OK', 1, ['gone']])
      expect(await retire(null)).to.deep.equal(['OK', 1, []])
      expect(await retire(false)).to.deep.equal(['CANCELLED', 0, ['gone']])
    })

    it('requires no confirmation in a workflow, and for a deploy', async () => {
      expect(await retire(false, {}, { inRun: true, mode: 'ci' })).to.deep.equal(['OK', 1, []])
      expect(await retire(false, { target: 'a', retire: false })).to.deep.equal(['OK', 1, []])
    })
  })

  type Row = [why: string, asked: Partial<Asked>, options: Partial<Options>, code: string, hint: RegExp]
  const table: Row[] = [
    ['itself', { caller: 'a' }, {}, 'SELF_DEPLOY', /./],
    ['a deploy of itself for a person', { caller: 'a', requestedBy: 'Ada' }, {}, 'SELF_DEPLOY', /./],
    ['all for a bot', { target: 'all', caller: 'a' }, {}, 'BOT_DEPLOY_ALL', /--requested-by/],
    [
      'all for a person with a blank name',
      { target: 'all', caller: 'a', requestedBy: ' \t ' },
      {},
      'BOT_DEPLOY_ALL',
      /./,
    ],
    ['an unknown target', { target: 'c' }, {}, 'UNKNOWN_TARGET', /./],
    ['nothing', { target: '' }, {}, 'INVALID_TARGET', /./],
    ['a bad AMI', { amiOverride: 'ami-x' }, {}, 'INVALID_AMI', /./],
    ['a name of two lines', { requestedBy: 'Ada\nEve' }, {}, 'INVALID_REQUEST', /--requested-by/],
    ['a name with a control character', { requestedBy: 'A\u001b[2J' }, {}, 'INVALID_REQUEST', /--requested-by/],
    ['a name that is too long', { requestedBy: 'x'.repeat(65) }, {}, 'INVALID_REQUEST', /--requested-by/],
    ['a short request id', { requestId: 'short' }, {}, 'INVALID_REQUEST', /--request-id/],
    ['a request id with a path', { requestId: '../../x/y/z' }, {}, 'INVALID_REQUEST', /--request-id/],
    ['a request id that is a number', { requestId: '20000000001' }, {}, 'INVALID_REQUEST', /--request-id/],
    ['all without a requester', { target: 'all' }, {}, 'PERSON_REQUIRED', /--requested-by/],
    ['an AMI without a requester', { amiOverride: 'ami-1234abcd' }, {}, 'PERSON_REQUIRED', /--requested-by/],
    ['an instance id as a person', { requestedBy: 'a' }, {}, 'INVALID_REQUEST', /name/],
    ['--plan-only', {}, { planOnly: true }, 'NOT_CI', /--plan-only/],
    ['--on-failure', {}, { onFailure: 'rollback' }, 'NOT_CI', /--on-failure/],
    ['--health-timeout', {}, { healthTimeoutMs: 0 }, 'NOT_CI', /--health-timeout/],
  ]
  for (const [why, asked, options, code, hint] of table) {
    it(`refuses ${why} with ${code}, before it connects to any service`, async () => {
      const { result, planes } = world(asked, options)
      const error = await failureOf(result)
      expect(error.code).to.equal(code)
      expect(error.hint).to.match(hint)
      expect(planes()).to.equal(0)
    })
  }
})
