import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Buffer | string
}

/** Answers a request itself, or with what `forward` gets from the endpoint. */
type Handler = (forward: () => Promise<Answer>) => Promise<Answer>

/**
 * `RunInstances`, `RunInstances dry`, `CreateRole` and so on by the name of the action; for S3 the method and the key,
 * `PUT state/fleet.tfstate`; for a lock table the action and the item's key, `PutItem bucket/state/fleet.tfstate`.
 */
function operationOf({ method, url = '', headers }: IncomingMessage, body: string): string {
  const target = headers['x-amz-target']
  if (typeof target === 'string')
    return `${target.replace(/^.*\./, '')} ${/"LockID":\{"S":"([^"]+)"/.exec(body)?.[1] ?? ''}`
  const form = new URLSearchParams(/x-www-form-urlencoded/.test(String(headers['content-type'])) ? body : '')
  const action = form.get('Action')
  if (action !== null) return form.get('DryRun') === 'true' ? `${action} dry` : action
  const [, , ...key] = new URL(url, 'http://localhost').pathname.split('/')
  return `${method} ${key.join('/')}`
}

/** A proxy before an AWS endpoint, at whose requests a test acts. */
export async function startFailingProxy(endpoint: string) {
  const rules = new Set<{ matches: RegExp; handler: Handler; once: boolean }>()
  const seen: string[] = []
  const server = createServer(async (incoming, response) => {
    const body = await buffer(incoming)
    const operation = operationOf(incoming, body.toString())
    seen.push(operation)
    const forward = () => forwarded(endpoint, incoming, body)
    const rule = [...rules].find(({ matches }) => matches.test(operation))
    if (rule?.once) rules.delete(rule)
    const answer = await (rule ? rule.handler(forward) : forward()).catch(() => null)
    // Who asked may be dead.
    if (answer === null || response.destroyed) return response.destroy()
    response.writeHead(answer.status, answer.headers).end(answer.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** The operations of all requests. */
    seen,
    /** Handles the next request of this operation. */
    once: (operation: string, handler: Handler) =>
      void rules.add({ matches: new RegExp(`^${operation}$`), handler, once: true }),
    /** Handles all requests of this operation, until the returned function is called. */
    always(operation: string, handler: Handler): () => void {
      const rule = { matches: new RegExp(`^${operation}$`), handler, once: false }
      rules.add(rule)
      return () => void rules.delete(rule)
    },
    /** Forgets the rules that no request matched. */
    reset: () => rules.clear(),
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}

function forwarded(endpoint: string, incoming: IncomingMessage, body: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method } = incoming
    const { 'transfer-encoding': _, ...kept } = incoming.headers
    const options = { method, headers: { ...kept, 'content-length': body.length } }
    const outgoing = request(new URL(incoming.url ?? '/', endpoint), options, async (answer) => {
      const { 'transfer-encoding': _, ...rest } = answer.headers
      resolve({ status: answer.statusCode ?? 502, headers: rest, body: await buffer(answer) })
    })
    outgoing.on('error', reject).end(body)
  })
}

/** The refusal of a service, in its own form. */
export function denied(service: 'ec2' | 'iam' | 's3' | 'dynamodb', message: string): Answer {
  const xml = (body: string) => ({ status: 403, headers: { 'content-type': 'text/xml' }, body })
  if (service === 'ec2') {
    const error = `<Error><Code>UnauthorizedOperation</Code><Message>${message}</Message></Error>`
    return xml(`<Response><Errors>${error}</Errors><RequestID>1</RequestID></Response>`)
  }
  const error = `<Code>AccessDenied</Code><Message>${message}</Message>`
  if (service === 's3') return xml(`<Error>${error}</Error>`)
  if (service === 'iam') return xml(`<ErrorResponse><Error><Type>Sender</Type>${error}</Error></ErrorResponse>`)
  return {
    status: 400,
    headers: { 'content-type': 'application/x-amz-json-1.0' },
    body: JSON.stringify({ __type: 'com.amazon.coral.service#AccessDeniedException', message }),
  }
}
