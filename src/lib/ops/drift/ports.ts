import type { Clock, Compute, JobReport, ObjectStore, Progress, RegistrySource, Tofu } from '../ports.js'

export interface Issue {
  number: number
  url: string
  body: string
}

/** GitHub's issues, as far as one of them is kept in step with the fleet. */
export interface Issues {
  /** Open ones with this label, newest first. */
  open(label: string): Promise<Issue[]>
  create(issue: { title: string; body: string; label: string }): Promise<Issue>
  update(number: number, body: string): Promise<void>
  /** Says why, then closes it. */
  close(number: number, comment: string): Promise<void>
}

export interface DriftPorts {
  registry: RegistrySource
  compute: Compute
  store: ObjectStore
  tofu: Tofu
  clock: Clock
  progress: Progress
  report: JobReport
  /** Where the plan goes that is only looked at. */
  planFile: string
  /** Null where no issue is to be kept. */
  issues: Issues | null
}
