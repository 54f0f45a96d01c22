import { Writable } from 'node:stream'
import { expect } from 'chai'
import { stderrProgress } from '../../src/lib/cli/progress.js'
import type { ItemProgress } from '../../src/lib/ops/ports.js'

/** A stream that keeps its output; with `columns` it counts as a terminal. */
function streamOf(columns = 0) {
  const chunks: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk))
      done()
    },
  })
  Object.assign(stream, { isTTY: columns > 0, columns, rows: 24 })
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escapes of a terminal
  const text = () => chunks.join('').replace(/\u001b\[[0-9;?]*[a-zA-Z]/g, '')
  return { stream: stream as unknown as NodeJS.WriteStream, text }
}

const ITEMS = ['clawdinator-1', 'clawdinator-2', 'clawdinator-3']

/** The first host is deployed, the second fails in its boot, so the third is never started. */
async function rollOut(list: ItemProgress): Promise<string> {
  await list.step('clawdinator-1', 'plan', async () => {})
  await list.step('clawdinator-1', 'boot', async (say) => {
    say('waiting for the first heartbeat')
    say('waiting for the first heartbeat')
  })
  list.end('clawdinator-1')
  await list
    .step('clawdinator-2', 'boot', async () => {
      throw new Error('its gateway is failed')
    })
    .catch(() => {})
  list.end('clawdinator-2', 'its gateway is failed')
  return 'stopped'
}

describe('progress', () => {
  it('prints the steps of a list as lines in a log', async () => {
    const { stream, text } = streamOf()
    expect(await stderrProgress(stream).list(ITEMS, rollOut)).to.equal('stopped')
    expect(text().split('\n')).to.deep.equal([
      '> clawdinator-1: plan',
      '+ clawdinator-1: plan (0s)',
      '> clawdinator-1: boot',
      '  waiting for the first heartbeat',
      '+ clawdinator-1: boot (0s)',
      '> clawdinator-2: boot',
      'x clawdinator-2: its gateway is failed',
      '- clawdinator-3: skipped',
      '',
    ])
  })

  it('shows a list on a terminal with steps, times and outcome of every item', async () => {
    const { stream, text } = streamOf(100)
    const progress = stderrProgress(stream)
    const result = await progress.list(ITEMS, async (list) => {
      progress.note('Not in the registry, left running: clawdinator-9.')
      return rollOut(list)
    })
    expect(result).to.equal('stopped')
    const last = text().split('\n').slice(-8).join('\n')
    expect(last).to.match(/✔ clawdinator-1 {2}plan 0s, boot 0s/)
    expect(last).to.match(/✖ clawdinator-2 {2}boot failed 0s/)
    expect(last).to.match(/↓ clawdinator-3 {2}skipped/)
    expect(text()).to.include('left running: clawdinator-9.')
  })

  it('does not colour stdout if only stderr is a terminal', async () => {
    const { stdout } = process
    const before = stdout.isTTY
    Object.assign(stdout, { isTTY: false })
    try {
      const { stream, text } = streamOf(100)
      await stderrProgress(stream).list(ITEMS, rollOut)
      expect(stdout.isTTY).to.equal(false)
      expect(text()).to.match(/✔ clawdinator-1/)
    } finally {
      Object.assign(stdout, { isTTY: before })
    }
  })

  it('ends the list with the error of its work', async () => {
    for (const columns of [0, 100]) {
      const { stream, text } = streamOf(columns)
      const failure = await stderrProgress(stream)
        .list(ITEMS, (list) => list.step('clawdinator-1', 'apply', () => Promise.reject(new Error('no capacity'))))
        .catch((error: unknown) => error)
      expect(failure).to.have.property('message', 'no capacity')
      expect(text()).to.include('clawdinator-1')
    }
  })
})
