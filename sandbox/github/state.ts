/** Progress of a run as GitHub reports it. */
export type RunStatus = 'queued' | 'pending' | 'in_progress' | 'completed'
export type StepStatus = 'queued' | 'in_progress' | 'completed'
export type Conclusion = 'success' | 'failure' | 'cancelled' | 'skipped'

export interface Annotation {
  level: 'failure' | 'warning' | 'notice'
  title: string
  message: string
  /** GitHub's own stand-in for "no file" is `.github`. */
  path: string
  line: number
  endLine: number
}

export interface StepState {
  number: number
  name: string
  status: StepStatus
  conclusion: Conclusion | null
  startedAt: string | null
  completedAt: string | null
  /** Markdown that the step wrote into GITHUB_STEP_SUMMARY, secrets masked. */
  summary: string
}

export interface LogLine {
  at: string
  /** Number of the step; 0 for lines of the service itself. */
  step: number
  text: string
}

export interface JobState {
  id: number
  key: string
  name: string
  labels: string[]
  status: StepStatus
  conclusion: Conclusion | null
  createdAt: string
  startedAt: string | null
  completedAt: string | null
  steps: StepState[]
  annotations: Annotation[]
  log: LogLine[]
}

export interface RunState {
  id: number
  number: number
  workflow: { id: number; name: string; path: string }
  displayTitle: string
  status: RunStatus
  conclusion: Conclusion | null
  /** The inputs with defaults, all as text. */
  inputs: Record<string, string>
  createdAt: string
  startedAt: string | null
  updatedAt: string
  jobs: JobState[]
  /** The service's message about the run, such as why it was cancelled. */
  messages: string[]
}

/** An event of a run, for listeners in this process. */
export type RunEvent =
  | { type: 'run'; run: RunState }
  | { type: 'job'; run: RunState; job: JobState }
  | { type: 'step'; run: RunState; job: JobState; step: StepState }
  | { type: 'log'; run: RunState; job: JobState; line: LogLine }

/** A time with the precision of GitHub's REST API. */
export function stamp(at: Date = new Date()): string {
  return `${at.toISOString().slice(0, 19)}Z`
}
