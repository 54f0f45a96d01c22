import { armor, Encrypter, generateHybridIdentity, generateX25519Identity, identityToRecipient } from 'age-encryption'
import { expect } from 'chai'
import fc from 'fast-check'
import { inspectAge } from '../../../src/lib/domain/bundles/age.js'

const bytesOf = (text: string) => Buffer.from(text, 'latin1')
const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1')
const problemOf = (bytes: Uint8Array) => {
  const form = inspectAge(bytes)
  return form.ok ? null : form.problem
}

describe('inspectAge', () => {
  let file: Uint8Array
  let armored: Uint8Array
  let recipients: string[]

  async function encrypt(to: readonly string[], plaintext: string | Uint8Array = 'secret'): Promise<Uint8Array> {
    const encrypter = new Encrypter()
    for (const recipient of to) encrypter.addRecipient(recipient)
    return encrypter.encrypt(plaintext)
  }

  before(async () => {
    const identities = await Promise.all([generateX25519Identity(), generateX25519Identity()])
    recipients = await Promise.all(identities.map(identityToRecipient))
    file = await encrypt(recipients)
    armored = bytesOf(armor.encode(file))
  })

  it('accepts files that age itself writes, and counts the recipients', async () => {
    expect(inspectAge(file)).to.deep.equal({ ok: true, encoding: 'binary', recipients: ['X25519', 'X25519'] })
    expect(inspectAge(armored)).to.deep.equal({ ok: true, encoding: 'armored', recipients: ['X25519', 'X25519'] })
    const hybrid = await encrypt([await identityToRecipient(await generateHybridIdentity())])
    expect(inspectAge(hybrid)).to.deep.include({ recipients: ['mlkem768x25519'] })
  })

  it('accepts every plaintext size but zero', async () => {
    for (const size of [1, 65_536, 65_537]) {
      expect(problemOf(await encrypt(recipients, new Uint8Array(size))), String(size)).to.equal(null)
    }
    expect(problemOf(await encrypt(recipients, ''))).to.include('its plaintext is empty')
  })

  it('accepts ssh recipients and grease, as age writes them', () => {
    const header = textOf(file).replace('-> X25519', '-> ssh-ed25519 abcdEF').replace('--- ', '-> x-grease a\n\n--- ')
    expect(inspectAge(bytesOf(header))).to.deep.include({ ok: true, recipients: ['ssh-ed25519', 'X25519'] })
  })

  it('refuses a file that is encrypted only with a passphrase', async () => {
    const encrypter = new Encrypter()
    encrypter.setPassphrase('x')
    encrypter.setScryptWorkFactor(1)
    expect(problemOf(await encrypter.encrypt('secret'))).to.include('passphrase')
  })

  const noFile: [what: string, text: () => string, problem: RegExp][] = [
    ['nothing', () => '', /^is empty$/],
    ['a token', () => 'MTIzNDU2.secret', /^is not age ciphertext$/],
    ['a private key', () => '-----BEGIN OPENSSH PRIVATE KEY-----\nx\n', /^is not age ciphertext$/],
    ['an identity', () => 'AGE-SECRET-KEY-1QQQ', /^is not age ciphertext$/],
    ['another version', () => 'age-encryption.org/v2\n-> X25519 a\n', /another version/],
    ['CRLF line ends', () => textOf(file).replaceAll('\n', '\r\n'), /CRLF/],
    ['CRLF in the header alone', () => textOf(file).replace('\n-> ', '\n-> x\r\n-> '), /CRLF|damaged/],
    ['no recipient', () => textOf(file).replace(/(?<=v1\n)[\s\S]*?(?=--- )/, ''), /names no recipient/],
    ['a short MAC', () => textOf(file).replace(/(?<=\n--- )../, ''), /MAC/],
    ['blanks before an armor, as age does', () => `\n${textOf(armored)}`, /^is not age ciphertext$/],
    ['a bare armor', () => '-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----\n', /armor/],
    ['an armored plaintext', () => armor.encode(bytesOf('a secret token')), /armor without an age file/],
    ['an armor with a long line', () => textOf(armored).replace(/\n(?=[A-Za-z0-9])/, '\nAAAA'), /armor/],
  ]
  for (const [what, text, problem] of noFile) {
    it(`refuses ${what}`, () => expect(problemOf(bytesOf(text()))).to.match(problem))
  }

  it('accepts an armor with CRLF, as age does', () => {
    const crlf = textOf(armored).replaceAll('\n', '\r\n')
    expect(problemOf(bytesOf(`${crlf}\r\n \n`))).to.equal(null)
    expect(armor.decode(crlf)).to.deep.equal(file)
  })

  it('refuses a file that is cut off in its header, and in its content if that is detectable', () => {
    const header = textOf(file).indexOf('\n', textOf(file).indexOf('\n--- ') + 1) + 1
    for (let length = 0; length <= header + 16 + 16; length += 1) {
      expect(inspectAge(file.subarray(0, length)).ok, `${length} bytes`).to.equal(false)
    }
  })

  it('refuses an armor that is cut off anywhere', () => {
    const whole = textOf(armored).trimEnd().length
    for (let length = 0; length < whole; length += 1) {
      expect(inspectAge(armored.subarray(0, length)).ok, `${length} bytes`).to.equal(false)
    }
  })

  it('refuses a file that is not an age file, and never throws', () => {
    const start = bytesOf('age-encryption.org/v1\n')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (noise, begun) => {
        const bytes = begun ? Buffer.concat([start, noise]) : noise
        expect(inspectAge(bytes).ok).to.equal(false)
      }),
      { numRuns: 300 },
    )
  })
})
