import type { Progress } from '../ops/ports.js'

export const silentProgress: Progress = { task: (_title, work) => work(() => {}), note: () => {} }

/**
 * Progress on stderr: a spinner on a terminal, plain lines elsewhere. Listr2 is loaded with the first task, because
 * most commands have none.
 */
export function stderrProgress(): Progress {
  return {
    async task(title, work) {
      const { Listr, ListrLogger, ProcessOutput } = await import('listr2')
      // Listr2 writes to stdout by default, which belongs to the result.
      const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) })
      let result: Awaited<ReturnType<typeof work>> | undefined
      const options = { logger, collapseErrors: true, showErrorMessage: false }
      const runner = new Listr(
        [
          {
            title,
            async task(_, handle) {
              let last = ''
              result = await work((text) => {
                if (text && text !== last) handle.output = text
                last = text
              })
            },
          },
        ],
        {
          renderer: process.stderr.isTTY ? 'default' : 'simple',
          rendererOptions: options,
          fallbackRendererOptions: options,
          registerSignalListeners: false,
        },
      )
      await runner.run()
      return result as Awaited<ReturnType<typeof work>>
    },
    note(text) {
      process.stderr.write(`${text}\n`)
    },
  }
}
