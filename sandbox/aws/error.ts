interface Details {
  headers?: Record<string, string>
  /** The reason in an error of the EBS direct APIs. */
  reason?: string
}

/** A refusal with AWS's own text; each service puts it into its own form. */
export class AwsError extends Error {
  override readonly name = 'AwsError'
  readonly code: string
  readonly status: number
  readonly headers: Record<string, string>
  readonly reason: string | null

  constructor(code: string, status: number, message: string, { headers = {}, reason }: Details = {}) {
    super(message)
    this.code = code
    this.status = status
    this.headers = headers
    this.reason = reason ?? null
  }
}
