import type { ListrTask, ListrTaskWrapper } from 'listr2'
import type { ItemProgress, Progress, Shown } from '../ops/ports.js'
import { elapsed, printable } from './text.js'

export const silentProgress: Progress = {
  task: (_title, work) => work(() => {}),
  list: (_items, work) => work({ step: (_item, _name, step) => step(() => {}), end: () => {} }),
  note: () => {},
}

/** A longer task is shown with its time. */
const SHOWN_FROM_MS = 1000

type Stream = Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write'>

/**
 * Progress on stderr: spinners on a terminal, plain lines in a log. A terminal without a width (a bare pseudo-terminal)
 * would get one character a line.
 */
export function stderrProgress(stream: Stream = process.stderr): Progress {
  const print = (text: string) => void stream.write(`${printable(text)}\n`)
  if (!(stream.isTTY && stream.columns > 0)) return lines(print, jobGroups(stream))
  let showNote = print
  return {
    task: (title, work) => spinner(stream, title, work),
    async list(items, work) {
      const list = new SpinnerList(items)
      // Lines printed while spinners run appear after them.
      showNote = (text) => {
        list.say(text)
        print(text)
      }
      try {
        return await list.run(stream, work)
      } finally {
        showNote = print
      }
    },
    note: (text) => showNote(text),
  }
}

function lines(print: (text: string) => void, groups: Groups): Progress {
  const task = async <T>(title: string, work: Shown<T>, isTimed = false): Promise<T> => {
    const started = Date.now()
    print(`> ${title}`)
    const result = await work(distinct((text) => print(`  ${text}`)))
    const took = Date.now() - started
    print(`+ ${title}${isTimed || took >= SHOWN_FROM_MS ? ` (${elapsed(took)})` : ''}`)
    return result
  }
  return {
    task,
    async list(items, work) {
      const open = new Set(items)
      const result = await work({
        step(item, name, step) {
          groups.open(item)
          return task(`${item}: ${name}`, step, true)
        },
        end(item, failure) {
          open.delete(item)
          groups.close()
          if (failure !== undefined) print(`x ${item}: ${failure}`)
        },
      })
      for (const item of open) print(`- ${item}: skipped`)
      return result
    },
    note: print,
  }
}

interface Groups {
  open(title: string): void
  close(): void
}

/** In a workflow's log, every item is a foldable group, with its result below. */
function jobGroups(stream: Stream): Groups {
  let current: string | null = null
  const command = (text: string) => {
    if (process.env.GITHUB_ACTIONS === 'true') stream.write(`${text}\n`)
  }
  const close = () => {
    if (current !== null) command('::endgroup::')
    current = null
  }
  return {
    close,
    open(title) {
      if (current === title) return
      close()
      current = title
      command(`::group::${title}`)
    },
  }
}

/** For requests that are usually quick: shows a line with the time on a terminal, until the answer arrives. */
export async function waitLine<T>(stream: Stream, title: string, work: () => Promise<T>): Promise<T> {
  if (!(stream.isTTY && stream.columns > 0)) return work()
  const started = Date.now()
  let shown = false
  const clock = setInterval(() => {
    shown = true
    stream.write(`\r${`${title} ${elapsed(Date.now() - started)}`.slice(0, stream.columns - 1)}\u001b[K`)
  }, SHOWN_FROM_MS)
  try {
    return await work()
  } finally {
    clearInterval(clock)
    if (shown) stream.write('\r\u001b[K')
  }
}

async function spinner<T>(stream: Stream, title: string, work: Shown<T>): Promise<T> {
  let result: T | undefined
  const task: ListrTask = {
    title,
    async task(_, handle) {
      const started = Date.now()
      const showTime = () => {
        const took = Date.now() - started
        if (took >= SHOWN_FROM_MS) handle.title = `${title} (${elapsed(took)})`
      }
      const clock = setInterval(showTime, SHOWN_FROM_MS)
      try {
        result = await work(
          distinct((text) => {
            handle.output = printable(text)
          }),
        )
      } finally {
        clearInterval(clock)
        showTime()
      }
    },
  }
  await runListr(stream, [task])
  return result as T
}

/** Listr2 is loaded with the first task: most commands have none. */
async function runListr(stream: Stream, tasks: ListrTask[], exitOnError = true): Promise<void> {
  const { Listr, ListrLogger, ProcessOutput } = await import('listr2')
  const output = stream as NodeJS.WriteStream
  // Listr2 writes to stdout by default, but stdout is for the result.
  const logger = new ListrLogger({ processOutput: new ProcessOutput(output, output) })
  const rendererOptions = { logger, collapseErrors: true, showErrorMessage: false }
  // Listr2 falls back to plain lines if stdout is not a terminal, and its `forceTTY` would change the whole process.
  const fallback = { fallbackRenderer: 'default', fallbackRendererOptions: rendererOptions } as const
  const options = { rendererOptions, ...fallback, registerSignalListeners: false, exitOnError }
  await new Listr(tasks, options).run()
}

type Outcome = 'done' | 'skipped' | Error

interface Item {
  steps: { name: string; started: number; ended?: number; failed?: true }[]
  /** Null until the item starts. */
  handle: ListrTaskWrapper<unknown, never, never> | null
  outcome: Promise<Outcome>
  end(outcome: Outcome): void
}

function newItem(): Item {
  let end: Item['end'] = () => {}
  const outcome = new Promise<Outcome>((resolve) => {
    end = resolve
  })
  return { steps: [], handle: null, outcome, end }
}

/** One line per item, with its steps and their times, and the newest clause below. */
class SpinnerList implements ItemProgress {
  readonly #items: ReadonlyMap<string, Item>
  #newest: Item | null = null

  constructor(items: readonly string[]) {
    this.#items = new Map(items.map((name) => [name, newItem()]))
  }

  async run<T>(stream: Stream, work: (list: ItemProgress) => Promise<T>): Promise<T> {
    const tasks = [...this.#items].map(
      ([name, item]): ListrTask => ({
        title: name,
        task: async (_, handle) => {
          item.handle = handle as unknown as Item['handle']
          this.#refresh()
          const outcome = await item.outcome
          if (outcome instanceof Error) throw outcome
          if (outcome === 'skipped') handle.skip(`${name}  skipped`)
        },
      }),
    )
    const clock = setInterval(() => this.#refresh(), 1000)
    const shown = runListr(stream, tasks, false)
    try {
      return await work(this)
    } finally {
      for (const item of this.#items.values()) {
        const last = item.steps.at(-1)
        item.end(last?.failed ? new Error(`${last.name} failed`) : last ? 'done' : 'skipped')
      }
      await shown
      clearInterval(clock)
    }
  }

  async step<T>(name: string, title: string, work: Shown<T>): Promise<T> {
    const item = this.#items.get(name)
    if (!item) return work(() => {})
    const step: Item['steps'][number] = { name: title, started: Date.now() }
    item.steps.push(step)
    this.#newest = item
    this.#refresh()
    try {
      return await work(distinct((text) => this.say(text, item)))
    } catch (error) {
      step.failed = true
      throw error
    } finally {
      step.ended = Date.now()
      this.#refresh()
    }
  }

  end(name: string, failure?: string): void {
    this.#refresh()
    this.#items.get(name)?.end(failure === undefined ? 'done' : new Error(printable(failure)))
  }

  say(text: string, item = this.#newest): void {
    if (item?.handle) item.handle.output = printable(text)
  }

  #refresh(): void {
    for (const [name, { handle, steps }] of this.#items) {
      const times = steps.map((step) => {
        const time = elapsed((step.ended ?? Date.now()) - step.started)
        return `${step.name}${step.failed ? ' failed' : ''} ${time}`
      })
      if (handle) handle.title = [name, times.join(', ')].filter(Boolean).join('  ')
    }
  }
}

/** A health gate repeats the same clause every few seconds. */
function distinct(say: (text: string) => void): (text: string) => void {
  let last = ''
  return (text) => {
    if (text && text !== last) say(text)
    last = text
  }
}
