import { expect } from 'chai'
import { parseArgs } from '../../../sandbox/tofu/args.js'
import {
  tofuApplyArgs,
  tofuInitArgs,
  tofuPlanArgs,
  tofuShowPlanArgs,
  tofuStatePullArgs,
  tofuStatePushArgs,
  tofuUntaintArgs,
} from '../../../src/lib/adapters/deploy/tofuArgs.js'

const dir = '/stack'
const file = '/tmp/plan file'
const vectors = {
  init: tofuInitArgs({ dir, backendConfig: { bucket: 'b', key: 'state/fleet.tfstate' } }),
  plan: tofuPlanArgs({
    dir,
    file,
    vars: { ami_id: 'ami-1', control_api_url: 'https://x/?a=b', instance_ids: ['a-1', 'b-2'], slots: { 'a-1': ['b'] } },
    replace: 'aws_instance.clawdinator["a-1"]',
  }),
  showPlan: tofuShowPlanArgs({ dir, file }),
  statePull: tofuStatePullArgs({ dir }),
  untaint: tofuUntaintArgs({ dir, address: 'aws_instance.clawdinator["a-1"]' }),
  apply: tofuApplyArgs({ dir, file }),
  statePush: tofuStatePushArgs({ dir }),
}

describe('tofu arguments', () => {
  it('match the expected list exactly', () => {
    expect(vectors).to.deep.equal({
      init: [
        '-chdir=/stack',
        'init',
        '-input=false',
        '-no-color',
        '-reconfigure',
        '-backend-config=bucket=b',
        '-backend-config=key=state/fleet.tfstate',
      ],
      plan: [
        '-chdir=/stack',
        'plan',
        '-input=false',
        '-no-color',
        '-lock=false',
        '-out=/tmp/plan file',
        '-var=ami_id=ami-1',
        '-var=control_api_url=https://x/?a=b',
        '-var=instance_ids=["a-1","b-2"]',
        '-var=slots={"a-1":["b"]}',
        '-replace=aws_instance.clawdinator["a-1"]',
      ],
      showPlan: ['-chdir=/stack', 'show', '-no-color', '-json', '/tmp/plan file'],
      statePull: ['-chdir=/stack', 'state', 'pull'],
      untaint: ['-chdir=/stack', 'untaint', '-no-color', '-lock=false', 'aws_instance.clawdinator["a-1"]'],
      apply: ['-chdir=/stack', 'apply', '-input=false', '-no-color', '-lock=false', '/tmp/plan file'],
      statePush: ['-chdir=/stack', 'state', 'push', '-lock=false', '-'],
    })
  })

  it('leave out -replace for a host that does not exist yet', () => {
    const args = tofuPlanArgs({ dir, file, vars: {}, replace: null })
    expect(args.filter((arg) => arg.startsWith('-replace'))).to.deep.equal([])
  })

  it('contain only options that the stand-in supports', () => {
    for (const vector of Object.values(vectors)) expect(() => parseArgs(vector)).not.to.throw()
  })
})
