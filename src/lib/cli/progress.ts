import type { Progress } from '../ops/ports.js'

export const silentProgress: Progress = { task: (_title, work) => work(() => {}), note: () => {} }

const print = (text: string) => process.stderr.write(`${text}\n`)

/** Progress on stderr: a spinner on a terminal, plain lines in a log. */
export function stderrProgress(): Progress {
  return { task: hasSpinner() ? spinnerTask : lineTask, note: print }
}

/** A terminal without a width (a bare pseudo-terminal) would get one character a line. */
const hasSpinner = () => process.stderr.isTTY && process.stderr.columns > 0

const lineTask: Progress['task'] = async (title, work) => {
  print(`> ${title}`)
  const result = await work(onlyNews((text) => print(`  ${text}`)))
  print(`+ ${title}`)
  return result
}

/** Listr2 is loaded with the first task, because most commands have none. */
const spinnerTask: Progress['task'] = async (title, work) => {
  const { Listr, ListrLogger, ProcessOutput } = await import('listr2')
  // Listr2 writes to stdout by default, which belongs to the result.
  const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) })
  let result: Awaited<ReturnType<typeof work>> | undefined
  const runner = new Listr(
    [
      {
        title,
        async task(_, handle) {
          result = await work(
            onlyNews((text) => {
              handle.output = text
            }),
          )
        },
      },
    ],
    { rendererOptions: { logger, collapseErrors: true, showErrorMessage: false }, registerSignalListeners: false },
  )
  await runner.run()
  return result as Awaited<ReturnType<typeof work>>
}

/** A health gate says the same thing every few seconds. */
function onlyNews(say: (text: string) => void): (text: string) => void {
  let last = ''
  return (text) => {
    if (text && text !== last) say(text)
    last = text
  }
}
