// biome-ignore-all lint/suspicious/noTemplateCurlyInString: workflow files hold ${{ }}
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import type { ActionTable } from '../../sandbox/github/actions.js'
import type { RunFacts } from '../../sandbox/github/contexts.js'
import { type RunLimits, WorkflowRun } from '../../sandbox/github/runner.js'
import type { Conclusion, JobState } from '../../sandbox/github/state.js'
import { loadWorkflow } from '../../sandbox/github/workflow.js'

interface Started {
  run: WorkflowRun
  over: Promise<Conclusion>
  job(key?: string): JobState
  text(key?: string): string
  steps(key?: string): Record<string, string | null>
}

describe('sandbox runner', () => {
  let directory: string
  const runs: WorkflowRun[] = []

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'clawctl-runner-'))
  })
  afterEach(async () => {
    await Promise.all(runs.splice(0).map((run) => run.dispose()))
    await rm(directory, { recursive: true, force: true })
  })

  async function start(
    jobs: string,
    options: { facts?: Partial<RunFacts>; actions?: ActionTable; limits?: Partial<RunLimits>; head?: string } = {},
  ): Promise<Started> {
    const workflow = await loadWorkflow(
      '.github/workflows/t.yml',
      `on: workflow_dispatch\n${options.head ?? ''}\njobs:\n${jobs}`,
    )
    let id = 0
    const run = new WorkflowRun({
      workflow,
      facts: {
        repository: 'acme/fleet',
        ref: 'refs/heads/main',
        refName: 'main',
        sha: 'c0ffee',
        actor: 'robin',
        apiUrl: 'http://127.0.0.1:1',
        serverUrl: 'http://127.0.0.1:1',
        token: 'ghs_jobtoken',
        runId: 7,
        runNumber: 3,
        workflowName: 'T',
        workflowPath: workflow.path,
        eventInputs: {},
        inputs: {},
        vars: {},
        secrets: {},
        ...options.facts,
      },
      directory: join(directory, 'run'),
      baseEnv: { PATH: process.env.PATH ?? '', HOME: directory },
      actions: options.actions ?? {},
      limits: { sigintMs: 200, sigtermMs: 200, outputMs: 200, ...options.limits },
      nextJobId: () => (id += 1),
    })
    runs.push(run)
    const job = (key = 'a') => {
      const found = run.jobs.find((j) => j.key === key)
      if (!found) throw new Error(`no job ${key}`)
      return found
    }
    return {
      run,
      over: run.execute(),
      job,
      text: (key) =>
        job(key)
          .log.map((line) => line.text)
          .join('\n'),
      steps: (key) => Object.fromEntries(job(key).steps.map((step) => [step.name, step.conclusion])),
    }
  }

  /** A job `a` with these steps, indented as a YAML list. */
  const steps = (text: string, more = '') =>
    `  a:\n    runs-on: ubuntu-latest\n${more}    steps:\n${text
      .trim()
      .split('\n')
      .map((line) => `      ${line}`)
      .join('\n')}\n`

  const write = async (path: string, content: string) => {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
  }

  const appears = async (path: string) => {
    while (!existsSync(path)) await sleep(5)
  }

  it('layers env (workflow < job < GITHUB_ENV < step) and inherits nothing else', async () => {
    process.env.CLAWCTL_TEST_LEAK = 'leaked'
    const started = await start(
      steps(
        `
- run: |
    echo "1 $A $B $C [\${CLAWCTL_TEST_LEAK-}] $CI $GITHUB_REPOSITORY $GITHUB_RUN_ID $GITHUB_REF_NAME"
    echo 'B=file' >> "$GITHUB_ENV"
    mkdir -p "$RUNNER_TEMP/bin" && printf '#!/bin/sh\\necho tool' > "$RUNNER_TEMP/bin/mytool" && chmod +x "$RUNNER_TEMP/bin/mytool"
    echo "$RUNNER_TEMP/bin" >> "$GITHUB_PATH"
  env: { C: step }
- run: echo "2 $A $B [\${C-}] $(mytool) \${{ env.B }}"
`,
        '    env: { B: job }\n',
      ),
      { head: 'env: { A: workflow, B: workflow }' },
    )
    expect(await started.over).to.equal('success')
    delete process.env.CLAWCTL_TEST_LEAK
    expect(started.text()).to.include('1 workflow job step [] true acme/fleet 7 main')
    expect(started.text()).to.include('2 workflow file [] tool file')
    expect(Object.keys(started.steps())).to.include('Set up job').and.include('Complete job')
    expect(Object.keys(started.steps())[2]).to.equal('Run echo "2 $A $B [${C-}] $(mytool) file"')
  })

  it('passes outputs to later steps and jobs', async () => {
    const started = await start(`${steps(
      `
- id: one
  run: |
    echo "v=1" >> "$GITHUB_OUTPUT"
    { echo 'm<<EOF'; echo x; echo y; echo EOF; } >> "$GITHUB_OUTPUT"
- run: echo "got \${{ steps.one.outputs.v }} \${{ toJSON(steps.one.outputs.m) }} \${{ steps.one.outcome }}"
`,
      '    outputs: { v: "${{ steps.one.outputs.v }}" }\n',
    )}
  b:
    needs: a
    runs-on: ubuntu-latest
    steps: [{ run: 'echo "needs \${{ needs.a.outputs.v }} \${{ needs.a.result }}"' }]
`)
    expect(await started.over).to.equal('success')
    expect(started.text()).to.include('got 1 "x\\ny" success')
    expect(started.text('b')).to.include('needs 1 success')
  })

  it('evaluates conditions and continue-on-error', async () => {
    const started = await start(`${steps(`
- { name: tolerated, id: t, run: exit 3, continue-on-error: true }
- { name: outcome, if: "steps.t.outcome == 'failure' && steps.t.conclusion == 'success'", run: 'true' }
- { name: breaks, run: exit 4 }
- { name: skipped, run: 'true' }
- { name: on failure, if: failure(), run: 'true' }
- { name: always, if: always(), run: 'true' }
- { name: on cancel, if: cancelled(), run: 'true' }
`)}
  b: { needs: a, runs-on: x, steps: [{ run: 'true' }] }
  c: { needs: a, if: failure(), runs-on: x, steps: [{ run: 'true' }] }
`)
    expect(await started.over).to.equal('failure')
    expect(started.steps()).to.deep.equal({
      'Set up job': 'success',
      tolerated: 'success',
      outcome: 'success',
      breaks: 'failure',
      skipped: 'skipped',
      'on failure': 'success',
      always: 'success',
      'on cancel': 'skipped',
      'Complete job': 'success',
    })
    expect(started.job('b').conclusion).to.equal('skipped')
    expect(started.job('c').conclusion).to.equal('success')
    expect(started.job().annotations.map((a) => a.message)).to.include('Process completed with exit code 4.')
  })

  it('masks secrets in log, summary and annotations, and removes outputs that contain one', async () => {
    const started = await start(
      `${steps(
        `
- id: s
  run: |
    echo "token $TOKEN \${{ github.token }}"
    echo "::add-mask::own-secret"
    echo "own-secret"
    echo "::error title=Bad,file=x.ts,line=4::it was $TOKEN%0Aand more"
    echo "# done $TOKEN" >> "$GITHUB_STEP_SUMMARY"
    echo "out=$TOKEN" >> "$GITHUB_OUTPUT"
  env: { TOKEN: "\${{ secrets.DEPLOY }}" }
`,
        '    outputs: { out: "${{ steps.s.outputs.out }}" }\n',
      )}  b: { needs: a, runs-on: x, steps: [{ run: 'echo "[\${{ needs.a.outputs.out }}]"' }] }\n`,
      { facts: { secrets: { DEPLOY: 's3cr3t' } } },
    )
    expect(await started.over).to.equal('success')
    expect(started.text()).to.include('token *** ***').and.not.include('s3cr3t').and.not.include('ghs_jobtoken')
    expect(started.text()).to.not.include('own-secret\n***')
    expect(started.job().steps[1]?.summary).to.equal('# done ***\n')
    expect(started.job().annotations[0]).to.deep.include({
      level: 'failure',
      title: 'Bad',
      message: 'it was ***\nand more',
      path: 'x.ts',
      line: 4,
    })
    expect(started.text('b')).to.include('[]')
  })

  it('stops and resumes workflow commands', async () => {
    const started = await start(
      steps(`
- run: |
    echo "::stop-commands::tok"
    echo "::warning::not one"
    echo "::tok::"
    echo "::warning::one"
`),
    )
    await started.over
    expect(started.job().annotations.map((a) => a.message)).to.deep.equal(['one'])
  })

  it('runs bash without pipefail unless `shell: bash` is set', async () => {
    const started = await start(
      steps(`
- { name: unspecified, run: 'false | cat' }
- { name: errexit, run: "false\\necho unreachable", continue-on-error: true }
- { name: bash, shell: bash, run: 'false | cat', continue-on-error: true, id: b }
- { name: sh, shell: sh, run: 'echo "sh $0" | grep -c bash || echo "not bash"' }
- { name: outcome, run: 'echo "bash was \${{ steps.b.outcome }}"' }
`),
    )
    expect(await started.over).to.equal('success')
    expect(started.text()).to.include('bash was failure').and.include('not bash')
    expect(started.job().log.filter((line) => line.text === 'unreachable')).to.deep.equal([])
  })

  it('runs an input as code only if the workflow writes it into `run`', async () => {
    const target = '"; echo INJECTED; echo "'
    const started = await start(
      steps(`
- { name: careless, run: 'echo "\${{ inputs.target }}"' }
- { name: careful, run: 'echo "$TARGET"', env: { TARGET: '\${{ inputs.target }}' } }
`),
      { facts: { inputs: { target } } },
    )
    await started.over
    const lines = (step: number) =>
      started
        .job()
        .log.filter((l) => l.step === step)
        .map((l) => l.text)
    expect(lines(2)).to.include('INJECTED')
    expect(lines(3)).to.include(target)
    expect(lines(3)).to.not.include('INJECTED')
  })

  it('runs stand-ins of actions, and reports that they are simulated', async () => {
    const started = await start(
      steps(`
- uses: acme/tool@v1
  id: tool
  with: { name: "\${{ github.actor }}" }
- run: echo "after $FROM_TOOL \${{ steps.tool.outputs.who }} $(cat file)"
`),
      {
        actions: {
          'acme/tool': async (context) => {
            context.setEnv('FROM_TOOL', 'env')
            context.setOutput('who', context.with.name ?? '')
            await write(join(context.workspace, 'file'), 'content')
            context.log('working')
            return { ok: true }
          },
        },
      },
    )
    expect(await started.over).to.equal('success')
    expect(started.text()).to.include('Run acme/tool@v1 (simulated)').and.include('after env robin content')
  })

  it('fails at an action that it does not run', async () => {
    const started = await start(steps('- uses: someone/else@v3'))
    expect(await started.over).to.equal('failure')
    expect(started.text()).to.include('The sandbox does not run the action someone/else@v3')
  })

  it('runs a local composite action', async () => {
    const action = `name: greet
description: greets
inputs:
  who: { description: x, required: false, default: "\${{ github.actor }}" }
outputs:
  text: { description: y, value: "\${{ steps.say.outputs.text }}" }
runs:
  using: composite
  steps:
    - id: say
      shell: bash
      run: echo "text=hello $WHO from $(basename "$GITHUB_ACTION_PATH") $OUTER" >> "$GITHUB_OUTPUT"
      env: { WHO: "\${{ inputs.who }}" }
    - { if: "inputs.who == 'nobody'", shell: bash, run: exit 1 }
`
    const started = await start(
      steps(`
- uses: actions/checkout@v4
- { id: g, uses: ./.github/actions/greet, with: { who: you }, env: { OUTER: outer } }
- { id: h, uses: ./.github/actions/greet }
- run: echo "said \${{ steps.g.outputs.text }}; \${{ steps.h.outputs.text }}"
- { uses: ./.github/actions/greet, with: { who: nobody } }
`),
      {
        actions: {
          'actions/checkout': async ({ workspace }) => {
            await write(join(workspace, '.github/actions/greet/action.yml'), action)
            return { ok: true }
          },
        },
      },
    )
    expect(await started.over).to.equal('failure')
    expect(started.text()).to.include('said hello you from greet outer; hello robin from greet')
    expect(started.steps()['Run ./.github/actions/greet']).to.equal('failure')
  })

  it('stops the running step of a cancelled job, and still runs always() steps', async () => {
    const started = await start(`${steps(`
- { name: long, run: 'touch "$HOME/up"; exec sleep 30' }
- { name: next, run: 'true' }
- { name: cleanup, if: always(), run: 'echo cleaned' }
- { name: noted, if: cancelled(), run: 'true' }
`)}
  b: { needs: a, runs-on: x, steps: [{ run: 'true' }] }
`)
    await appears(join(directory, 'up'))
    started.run.cancel()
    expect(await started.over).to.equal('cancelled')
    expect(started.steps()).to.deep.include({
      long: 'cancelled',
      next: 'skipped',
      cleanup: 'success',
      noted: 'success',
    })
    expect(started.job('b').conclusion).to.equal('cancelled')
  })

  it('signals only the shell, as GitHub does: a child process is killed when the job ends', async () => {
    const script = 'trap "echo got INT >> $HOME/signals" INT; touch "$HOME/up"; sleep 30'
    const job = steps(`- { name: long, run: 'bash -c ''${script}''; true' }`)
    const started = await start(job)
    await appears(join(directory, 'up'))
    started.run.cancel()
    expect(await started.over).to.equal('cancelled')
    expect(existsSync(join(directory, 'signals'))).to.equal(false)
    expect(started.text()).to.include('Terminate orphan process')
  })

  it('signals the whole process group if the caller requests it', async () => {
    const script = 'trap "echo got INT >> $HOME/signals; exit 1" INT; touch "$HOME/up"; sleep 30'
    const started = await start(steps(`- { name: long, run: 'bash -c ''${script}''; true' }`), {
      limits: { signals: 'group' },
    })
    await appears(join(directory, 'up'))
    started.run.cancel()
    expect(await started.over).to.equal('cancelled')
    expect(await readFile(join(directory, 'signals'), 'utf8')).to.equal('got INT\n')
  })

  it('cancels a job and fails a step at their time limits', async () => {
    const job = await start(
      steps(
        '- { name: long, run: exec sleep 30 }\n- { name: after, if: always(), run: "true" }',
        '    timeout-minutes: 0.003\n',
      ),
    )
    expect(await job.over).to.equal('cancelled')
    expect(job.steps()).to.deep.include({ long: 'cancelled', after: 'success' })
    expect(job.text()).to.include('has exceeded the maximum execution time of 0.003 minutes')

    await job.run.dispose()
    const step = await start(
      steps(
        '- { name: long, run: exec sleep 30, timeout-minutes: 0.003 }\n- { name: after, if: failure(), run: "true" }',
      ),
    )
    expect(await step.over).to.equal('failure')
    expect(step.steps()).to.deep.include({ long: 'failure', after: 'success' })
    expect(step.text()).to.include("The action 'long' has timed out after 0.003 minutes.")
  })

  it("kills everything of a lost runner immediately, runs nothing else, and keeps the steps' states", async () => {
    const started = await start(
      steps(`
- { name: long, run: '(until [ -e "$HOME/go" ]; do sleep 0.05; done; touch "$HOME/survived") & touch "$HOME/up"; sleep 30' }
- { name: cleanup, if: always(), run: 'touch "$HOME/cleaned"' }
`),
    )
    await appears(join(directory, 'up'))
    const before = Date.now()
    started.run.kill()
    expect(await started.over).to.equal('failure')
    expect(Date.now() - before, 'without waiting for the sleep').to.be.below(20_000)
    expect(started.steps()).to.deep.include({ long: null, cleanup: null })
    expect(started.text()).to.include('lost communication with the server')
    expect(existsSync(join(directory, 'cleaned'))).to.equal(false)
    await writeFile(join(directory, 'go'), '')
    await sleep(300)
    expect(existsSync(join(directory, 'survived'))).to.equal(false)
  })

  it('leaves no background process of a step behind', async function () {
    if (process.platform !== 'linux') this.skip() // found again through /proc
    const started = await start(steps('- run: setsid sleep 30 > /dev/null 2>&1 & echo "pid=$!" > "$HOME/pid"'))
    expect(await started.over).to.equal('success')
    expect(started.text()).to.match(/Terminate orphan process: pid \(\d+\)/)
  })
})
