export type ImportVerdict =
  | { is: 'active' }
  | { is: 'completed' }
  /** `again`: the service itself failed, so the same image may well pass the next time. */
  | { is: 'ended'; reason: string; again: boolean }

/** VM Import begins what is the image's fault with ClientError, or names it so; the rest is its own. */
const OURS =
  /client\s?error|invalid|unsupported|not supported|validation|corrupt|access|denied|permission|no such|not found/i

/** What the status of an import says: active, completed, or over without success (deleting, deleted, error). */
export function judgeImport(task: { status: string; message: string | null }): ImportVerdict {
  const status = task.status.toLowerCase()
  if (status === 'completed') return { is: 'completed' }
  if (status !== 'deleting' && status !== 'deleted' && status !== 'error') return { is: 'active' }
  const reason = task.message ?? `its status is ${status}, without a reason`
  return { is: 'ended', reason, again: !OURS.test(reason) }
}
