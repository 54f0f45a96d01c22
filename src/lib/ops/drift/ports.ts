import type { Compute, JobReport, ObjectStore, Progress, RegistrySource, Tofu } from '../ports.js'

export interface Issue {
  number: number
  url: string
  body: string
}

/** GitHub's issues, as needed to keep one in step with the fleet. */
export interface Issues {
  /** Open ones with this label, newest first. */
  open(label: string): Promise<Issue[]>
  create(issue: { title: string; body: string; label: string }): Promise<Issue>
  update(number: number, body: string): Promise<void>
  /** Comments with the reason, then closes it. */
  close(number: number, comment: string): Promise<void>
}

export interface DriftPorts {
  registry: RegistrySource
  compute: Compute
  store: ObjectStore
  tofu: Tofu
  progress: Progress
  report: JobReport
  /** Path of the plan, which is never applied. */
  planFile: string
  /** Null if no issue is kept. */
  issues: Issues | null
}
