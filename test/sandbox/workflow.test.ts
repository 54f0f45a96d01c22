// biome-ignore-all lint/suspicious/noTemplateCurlyInString: workflow files hold ${{ }}
import { expect } from 'chai'
import { parsePairs } from '../../sandbox/github/commands.js'
import { condition, render, type Scope } from '../../sandbox/github/expressions.js'
import { parseInputs } from '../../sandbox/github/inputs.js'
import { loadWorkflow, WorkflowError } from '../../sandbox/github/workflow.js'

const DEPLOY = `name: Deploy
run-name: "\${{ format('deploy {0}', inputs.target) }}"
on:
  workflow_dispatch:
    inputs:
      target: { required: true, type: string }
      dry: { type: boolean, default: false }
      where: { type: choice, options: [here, there], default: here }
      count: { type: number, default: 3 }
concurrency: { group: fleet, cancel-in-progress: false, queue: max }
permissions: { contents: read }
defaults: { run: { shell: bash } }
jobs:
  deploy:
    runs-on: ubuntu-latest
    timeout-minutes: 5
    env: { NUMBER: 1 }
    steps:
      - run: echo hi
`

async function problemsOf(content: string): Promise<readonly string[]> {
  try {
    await loadWorkflow('.github/workflows/x.yml', content)
  } catch (error) {
    if (error instanceof WorkflowError) return error.problems
    throw error
  }
  return []
}

describe('sandbox workflow files', () => {
  it('parses the workflows that the sandbox runs', async () => {
    const workflow = await loadWorkflow('.github/workflows/x.yml', DEPLOY)
    expect(workflow.name).to.equal('Deploy')
    expect(workflow.concurrency).to.deep.equal({ group: 'fleet', cancelInProgress: 'false', queue: 'max' })
    expect(workflow.inputs?.where).to.deep.equal({
      required: false,
      default: 'here',
      type: 'choice',
      options: ['here', 'there'],
    })
    expect(workflow.defaults.shell).to.equal('bash')
    expect(workflow.jobs[0]?.env).to.deep.equal({ NUMBER: '1' })
    expect(workflow.jobs[0]?.timeoutMinutes).to.equal('5')
  })

  it('reports line and column of what GitHub would refuse', async () => {
    expect(await problemsOf(DEPLOY.replace('timeout-minutes', 'timeout'))).to.deep.equal([
      "16:5: Unexpected value 'timeout'",
    ])
    expect(await problemsOf(DEPLOY.replace('inputs.target)', 'steps.x)'))).to.deep.equal([
      "2:12: Unrecognized named-value: 'steps'",
    ])
    expect((await problemsOf(DEPLOY.replace('runs-on', 'needs: [other]\n    runs-on')))[0]).to.match(/^14:3: /)
  })

  for (const [key, text] of [
    ['strategy', 'strategy: { matrix: { a: [1] } }'],
    ['services', 'services: { db: { image: postgres } }'],
    ['container', 'container: alpine'],
    ['concurrency', 'concurrency: deploys'],
  ] as const) {
    it(`reports that the sandbox does not run jobs.deploy.${key}`, async () => {
      const [problem] = await problemsOf(DEPLOY.replace('timeout-minutes: 5', text))
      expect(problem)
        .to.match(/^16:5: /)
        .and.include(`the sandbox does not run jobs.deploy.${key}`)
    })
  }

  it('refuses reusable workflows', async () => {
    const [problem] = await problemsOf('on: push\njobs:\n  a:\n    uses: ./.github/workflows/b.yml\n')
    expect(problem).to.include('the sandbox does not run jobs.a.uses')
  })
})

describe('sandbox dispatch inputs', () => {
  const check = async (given: unknown) => parseInputs(given, (await loadWorkflow('x.yml', DEPLOY)).inputs ?? {})

  it('fills in defaults and keeps types', async () => {
    expect(await check({ target: 'all', dry: 'true' })).to.deep.equal({
      ok: true,
      texts: { target: 'all', dry: 'true', where: 'here', count: '3' },
      values: { target: 'all', dry: true, where: 'here', count: 3 },
    })
  })

  for (const [given, message] of [
    [{}, "Required input 'target' not provided"],
    [{ target: '' }, "Required input 'target' not provided"],
    [{ target: 'a', x: '1' }, 'Unexpected inputs provided: ["x"]'],
    [{ target: 'a', where: 'moon' }, "Provided value 'moon' for input 'where' not in the list of allowed values"],
    [{ target: 'a', dry: 'maybe' }, "Provided value 'maybe' for input 'dry' is not a boolean"],
    [{ target: 'a', count: 'x' }, "Provided value 'x' for input 'count' is not a number"],
    [Object.fromEntries(Array.from({ length: 26 }, (_, i) => [`i${i}`, ''])), 'you may only define up to 25 `inputs`'],
  ] as const) {
    it(`refuses ${JSON.stringify(given).slice(0, 40)}`, async () => {
      const result = await check(given)
      expect(result.ok ? '' : result.message).to.include(message)
    })
  }
})

describe('sandbox expressions', () => {
  const scope: Scope = {
    contexts: { inputs: { name: "it's", yes: true, no: false }, env: { EMPTY: '' } },
    status: { success: false, failure: true, cancelled: false },
  }

  it('replaces expressions in a text', () => {
    expect(render("a ${{ inputs.name }} ${{ format('{0} }}', inputs.yes) }} b", scope)).to.equal("a it's true } b")
    expect(render("${{ contains('abc', 'B') && 'in' || 'out' }}", scope)).to.equal('in')
    expect(render("${{ fromJSON('[1,2]')[1] }}${{ inputs.nothing }}", scope)).to.equal('2')
  })

  it('adds success() to a condition without a status function', () => {
    expect(condition('inputs.yes', scope)).to.equal(false)
    expect(condition('failure() && inputs.yes', scope)).to.equal(true)
    expect(condition('${{ always() && inputs.no }}', scope)).to.equal(false)
    expect(condition('!cancelled()', scope)).to.equal(true)
    expect(condition(null, scope)).to.equal(false)
  })

  it('treats text around an expression as true, as GitHub does', () => {
    const well = { ...scope, status: { success: true, failure: false, cancelled: false } }
    expect(condition('${{ inputs.no }} && true', well)).to.equal(true)
  })

  it("names an expression that it can't evaluate", () => {
    expect(() => render("${{ hashFiles('x') }}", scope)).to.throw('The sandbox does not run hashFiles()')
    expect(() => render('${{ secrets.X }}', scope)).to.throw("Unrecognized named-value: 'secrets'")
    expect(() => render('${{ inputs.name', scope)).to.throw('not closed')
  })
})

describe('sandbox file commands', () => {
  it('parses pairs and heredocs', () => {
    expect(parsePairs('a=1\nb<<EOF\nx=y\n\nz\nEOF\nc=d<<e\n')).to.deep.equal([
      ['a', '1'],
      ['b', 'x=y\n\nz'],
      ['c', 'd<<e'],
    ])
    expect(() => parsePairs('nonsense')).to.throw("Invalid format 'nonsense'")
    expect(() => parsePairs('a<<EOF\nx')).to.throw("Matching delimiter not found 'EOF'")
  })
})
