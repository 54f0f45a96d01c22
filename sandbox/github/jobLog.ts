import { endsStop, parseCommand } from './commands.js'
import type { Annotation, LogLine } from './state.js'

/** GitHub keeps ten annotations of each level for a step. */
const ANNOTATIONS_PER_STEP = 10
const LEVELS = { error: 'failure', warning: 'warning', notice: 'notice' } as const

/** Values that must not appear in a log. */
export class Masks {
  readonly #values = new Set<string>()

  add(value: string): void {
    for (const part of [value, ...value.split(/\r?\n/)]) if (part.trim() !== '') this.#values.add(part)
  }

  hide(text: string): string {
    let hidden = text
    // The longest first: a secret may contain another one.
    for (const value of [...this.#values].sort((a, b) => b.length - a.length)) hidden = hidden.replaceAll(value, '***')
    return hidden
  }
}

export interface JobLogOptions {
  masks: Masks
  onLine(line: LogLine): void
  onAnnotation(annotation: Annotation): void
}

/** A job's log: masks secrets and applies the workflow commands in a step's output. */
export class JobLog {
  readonly #options: JobLogOptions
  #step = 0
  #counts = { failure: 0, warning: 0, notice: 0 }
  #stopToken: string | null = null
  /** Outputs of the deprecated `::set-output`, which GitHub still supports. */
  onSetOutput: ((name: string, value: string) => void) | null = null

  constructor(options: JobLogOptions) {
    this.#options = options
  }

  /** Assigns the following lines to this step. */
  enter(step: number): void {
    this.#step = step
    this.#counts = { failure: 0, warning: 0, notice: 0 }
    this.#stopToken = null
  }

  /** A line of the runner: masked, never a command. */
  line(text: string): void {
    for (const part of this.#options.masks.hide(text).split('\n')) {
      this.#options.onLine({ at: new Date().toISOString(), step: this.#step, text: part })
    }
  }

  error(message: string): void {
    this.#annotate('error', message, {})
  }

  /** A line of a step's output. */
  output(text: string): void {
    if (this.#stopToken !== null) {
      if (endsStop(text, this.#stopToken)) this.#stopToken = null
      this.line(text)
      return
    }
    const command = parseCommand(text)
    switch (command?.name) {
      case 'error':
      case 'warning':
      case 'notice':
        this.#annotate(command.name, command.message, command.properties)
        return
      case 'group':
        this.line(`##[group]${command.message}`)
        return
      case 'endgroup':
        this.line('##[endgroup]')
        return
      case 'debug':
      case 'echo':
      case 'save-state':
      case 'add-matcher':
      case 'remove-matcher':
        return
      case 'add-mask':
        this.#options.masks.add(command.message)
        this.line('::add-mask::***')
        return
      case 'stop-commands':
        this.#stopToken = command.message
        this.line(text)
        return
      case 'set-output':
        this.onSetOutput?.(command.properties.name ?? '', command.message)
        return
      case 'set-env':
      case 'add-path':
        this.error(`The \`${command.name}\` command is disabled. Please upgrade to using Environment Files.`)
        return
      default:
        this.line(text)
    }
  }

  #annotate(name: keyof typeof LEVELS, message: string, properties: Record<string, string>): void {
    const level = LEVELS[name]
    this.line(`##[${name}]${message}`)
    this.#counts[level] += 1
    if (this.#counts[level] > ANNOTATIONS_PER_STEP) return
    const line = Number(properties.line) || 1
    const hide = (text: string) => this.#options.masks.hide(text)
    this.#options.onAnnotation({
      level,
      title: hide(properties.title ?? ''),
      message: hide(message),
      path: properties.file ?? '.github',
      line,
      endLine: Number(properties.endLine) || line,
    })
  }
}
