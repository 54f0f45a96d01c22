interface Details {
  headers?: Record<string, string>
  /** What the EBS direct APIs call so. */
  reason?: string
}

/** A refusal in AWS's own words; each service turns it into the form of its own. */
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
