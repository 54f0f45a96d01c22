import { Socket } from 'node:net'

/** Its certificates cost every start of Node 20 some 40 ms, in a thousand processes; no test leaves this machine. */
delete process.env.NODE_EXTRA_CA_CERTS

const LOOPBACK = /^(?:127\.|::1$|localhost$|::ffff:127\.)/

/** The network is off: a test that reaches for another machine fails immediately instead of depending on it. */
const connect = Socket.prototype.connect
Socket.prototype.connect = function (this: Socket, ...args: Parameters<typeof connect>) {
  const [first] = Array.isArray(args[0]) ? args[0] : args
  const host = typeof first === 'object' && first !== null && 'host' in first ? String(first.host ?? '') : ''
  if (host && !LOOPBACK.test(host)) throw new Error(`The tests' network is off: ${host}`)
  return connect.apply(this, args)
} as typeof connect
