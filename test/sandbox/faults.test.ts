import { expect } from 'chai'
import { Faults } from '../../sandbox/faults.js'
import { parseFault } from '../../src/lib/domain/sandboxOptions.js'
import { thrown } from '../support/fakes.js'

describe('faults', () => {
  const forms: [text: string, fault: object][] = [
    ['ec2:throttle', { on: 'ec2', kind: 'throttle', strikes: 2 }],
    ['s3:error=5', { on: 's3', kind: 'error', strikes: 5 }],
    ['github:reset=always', { on: 'github', kind: 'reset', strikes: Number.POSITIVE_INFINITY }],
    ['api:slow', { on: 'api', kind: 'slow', delayMs: 2000 }],
    ['api:slow=50ms', { on: 'api', kind: 'slow', delayMs: 50 }],
    ['host:unhealthy', { on: 'host', kind: 'unhealthy', id: null }],
    ['host:crash=clawdinator-2', { on: 'host', kind: 'crash', id: 'clawdinator-2' }],
    ['ebs:hang=1', { on: 'ebs', kind: 'hang', strikes: 1 }],
    ['s3:corrupt', { on: 's3', kind: 'corrupt', strikes: 2 }],
    ['ebs:expired@100=always', { on: 'ebs', kind: 'expired', strikes: Number.POSITIVE_INFINITY, after: 100 }],
    ['import:bad-image=1', { on: 'import', kind: 'bad-image', strikes: 1 }],
    ['runner:dies', { on: 'runner', kind: 'dies', moment: 'health' }],
    ['runner:dies=apply', { on: 'runner', kind: 'dies', moment: 'apply' }],
  ]
  for (const [text, fault] of forms) {
    it(`parses ${text}`, () => expect(parseFault(text)).to.deep.equal(fault))
  }

  const bad = ['', 'ec2', 'ec2:explode', 'ec2:throttle=', 'ec2:throttle=0', 'ec2:throttle=1.5', 'ec2:throttle=-1']
  const misplaced = [
    'ec2:corrupt',
    'api:expired',
    'ec2:throttle@',
    'ec2:throttle@x',
    'api:slow@1',
    'host:dead@1',
    'import:error@1',
  ]
  for (const text of [
    ...bad,
    'api:slow=',
    'api:slow=soon',
    'api:slow=-1s',
    'host:dead=',
    'runner:dies=2',
    ...misplaced,
  ]) {
    it(`refuses ${JSON.stringify(text)} with a hint`, () => {
      const error = thrown(() => parseFault(text))
      expect(error.code).to.equal('USAGE')
      expect(error.hint).to.be.a('string').and.not.equal('')
    })
  }

  it('apply as often as given, to one service each, and end with the command that added them', () => {
    const faults = new Faults([parseFault('ec2:error=1')])
    const takeBack = faults.add(parseFault('ec2:throttle=9'))
    expect([faults.strike('s3'), faults.strike('ec2'), faults.strike('ec2')]).to.deep.equal([null, 'error', 'throttle'])
    takeBack()
    expect(faults.strike('ec2')).to.equal(null)
  })

  it('start after the given number of requests, and count damaged uploads separately', () => {
    const faults = new Faults(['ebs:expired@2=1', 'ebs:corrupt@1=1', 'import:error=1'].map(parseFault))
    expect([1, 2, 3, 4].map(() => faults.strike('ebs'))).to.deep.equal([null, null, 'expired', null])
    expect([1, 2, 3].map(() => faults.corrupts('ebs'))).to.deep.equal([false, true, false])
    expect([faults.import(['stuck']), faults.import(['error']), faults.import(['error'])]).to.deep.equal([
      null,
      'error',
      null,
    ])
  })

  it('apply to hosts by AMI and id, and to the runner once', () => {
    const faults = new Faults(['host:unhealthy=a', 'host:dead=b', 'runner:dies'].map(parseFault))
    expect([faults.host('a', true), faults.host('a', false)]).to.deep.equal(['unhealthy', null])
    expect([faults.host('b', false), faults.host('c', true)]).to.deep.equal(['dead', null])
    expect(['apply', 'health', 'health'].map((moment) => faults.runnerDies(moment as 'health'))).to.deep.equal([
      ...[false, true, false],
    ])
  })
})
