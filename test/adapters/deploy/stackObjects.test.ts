import { expect } from 'chai'
import { createStackObjects } from '../../../src/lib/adapters/deploy/stackObjects.js'
import { ROLE_POLICY } from '../../../src/lib/domain/deploy/leftovers.js'
import { ID_TYPES } from '../../../src/lib/domain/deploy/slots.js'
import { account } from '../../sandbox/tofuSupport.js'
import { failureOf } from '../../support/failure.js'

const statement = (more: object) => JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', ...more }] })
const TRUST = statement({ Action: 'sts:AssumeRole', Principal: { Service: 'ec2.amazonaws.com' } })
const OWN = { app: 'clawdinator', 'clawdinator:id': 'a-1' }

describe('createStackObjects', () => {
  let aws: Awaited<ReturnType<typeof account>>
  const objects = () => createStackObjects({ region: 'eu-central-1', vpcId: null })
  const role = (path: string, tags: Record<string, string>) =>
    aws.world.iam.createRole({ name: 'a-1', path, trust: TRUST, boundary: null, description: null, tags })

  beforeEach(async () => {
    aws = await account()
  })
  afterEach(() => aws.close())

  it('finds each object of an id that the stack has created', async () => {
    expect(await objects().ofId('a-1', ID_TYPES)).to.deep.equal([])
    role('/clawdinator/', OWN)
    expect(await objects().ofId('a-1', ID_TYPES)).to.deep.equal(['aws_iam_role'])
    aws.world.iam.putRolePolicy('a-1', ROLE_POLICY, statement({ Action: 's3:GetObject', Resource: '*' }))
    aws.world.iam.createProfile({ name: 'a-1', path: '/clawdinator/', tags: OWN })
    expect(await objects().ofId('a-1', ID_TYPES)).to.have.members(ID_TYPES)
    expect(await objects().ofId('a-1', ['aws_iam_instance_profile'])).to.deep.equal(['aws_iam_instance_profile'])
  })

  const foreign: [string, string, Record<string, string>][] = [
    ['another path', '/', OWN],
    ['the tags of another id', '/clawdinator/', { ...OWN, 'clawdinator:id': 'b-2' }],
    ['no tags', '/clawdinator/', {}],
  ]
  for (const [what, path, tags] of foreign) {
    it(`refuses a role of the same name with ${what}`, async () => {
      role(path, tags)
      const error = await failureOf(objects().ofId('a-1', ['aws_iam_role']))
      expect(error.code).to.equal('NOT_IN_STATE')
      expect(error.message).to.include('role a-1 that the fleet stack did not create')
    })
  }

  it('returns null if there is no group', async () => {
    expect(await objects().securityGroup()).to.equal(null)
  })
})
