import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { conventionalEntry, type EntryRequest, planAddition } from '../../../src/lib/domain/registry/addition.js'
import { deleteEntry, insertEntry } from '../../../src/lib/domain/registry/edit.js'
import { checkFleetFiles, formatProblem } from '../../../src/lib/domain/registry/files.js'
import { hostFilePath, hostFileText, isScaffold } from '../../../src/lib/domain/registry/hostFile.js'
import { unifiedDiff } from '../../../src/lib/domain/registry/plan.js'
import { parseRegistry, type RegistryEntry } from '../../../src/lib/domain/registry/registry.js'
import { planRemoval } from '../../../src/lib/domain/registry/removal.js'
import { entryOf, registryOf, registryText } from '../../support/fakes.js'
import { ROOT } from '../../support/plane.js'

const filesOf = (text: string, hostFile: string | null = null) => ({
  registry: { text, origin: 'nix/instances.json' },
  hostFile,
})
const refusal = (text: string, asked: EntryRequest) => {
  const plan = planAddition(filesOf(text), asked)
  if (plan.kind !== 'refused') throw new Error(`${plan.kind} instead of a refusal`)
  return plan
}

const ids = fc.uniqueArray(
  fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/).filter((id) => id !== 'all'),
  { maxLength: 6 },
)
/** The same registry in the styles of people and tools. */
const written = fc
  .tuple(
    ids,
    fc.constantFrom(undefined, 1, 2, 4, '\t'),
    fc.constantFrom('\n', '\r\n'),
    fc.constantFrom('', '\n', '\n\n'),
  )
  .chain(([names, indent, eol, end]) => {
    const entries = names.map((id) => entryOf(id))
    const fields = (entry: RegistryEntry) => {
      const { id: _, ...rest } = entry
      return rest
    }
    const whole = JSON.stringify(Object.fromEntries(entries.map((e) => [e.id, fields(e)])), null, indent)
    const lines = entries.map((e) => `  ${JSON.stringify(e.id)}: ${JSON.stringify(fields(e)).replaceAll(',', ', ')}`)
    const commaFirst = `{ ${lines.map((line) => line.trim()).join('\n, ')}\n}`
    return fc
      .constantFrom(whole, `{\n${lines.join(',\n')}\n}`, commaFirst)
      .map((text) => ({ text: (text + end).replaceAll('\n', eol), entries }))
  })

describe('an edit of the registry', () => {
  it('appends the entry, and keeps every other byte, for every style of the file', () => {
    fc.assert(
      fc.property(written, ({ text, entries }) => {
        const added = insertEntry(text, entryOf('added-1'))
        expect(parseRegistry(added, 'x')).to.deep.equal([...parseRegistry(text, 'x'), entryOf('added-1')])
        if (text.includes('\r\n')) expect(added).not.to.match(/[^\r]\n/)
        if (entries.length === 0) return
        const at = text.lastIndexOf('}', text.lastIndexOf('}') - 1) + 1
        expect(added.startsWith(text.slice(0, at))).to.equal(true)
        expect(added.endsWith(text.slice(at))).to.equal(true)
        expect(deleteEntry(added, 'added-1')).to.equal(text)
      }),
      { numRuns: 200 },
    )
  })

  it('removes exactly one entry', () => {
    fc.assert(
      fc.property(written, fc.nat(), ({ text, entries }, seed) => {
        fc.pre(entries.length > 0)
        const gone = entries[seed % entries.length]?.id ?? ''
        const left = deleteEntry(text, gone)
        expect(parseRegistry(left, 'x')).to.deep.equal(parseRegistry(text, 'x').filter(({ id }) => id !== gone))
        expect(/\s*$/.exec(left)?.[0]).to.equal(/\s*$/.exec(text)?.[0])
      }),
      { numRuns: 200 },
    )
  })

  const entry = (id: string) => `"${id}": ${JSON.stringify({ ...entryOf(id), id: undefined })}`
  it('starts an empty registry with two spaces, and otherwise keeps the existing style', () => {
    const begun = `${JSON.stringify({ b: { ...entryOf('b'), id: undefined } }, null, 2)}\n`
    expect(insertEntry('{}\n', entryOf('b'))).to.equal(begun)
    expect(insertEntry('{\r\n}\r\n', entryOf('b'))).to.equal(begun.replaceAll('\n', '\r\n'))
    expect(insertEntry(`{${entry('a')}}`, entryOf('b'))).to.equal(`{${entry('a')}, ${entry('b')}}`)
    const oneLine = `{\n\t"a" : {"host" : "a" , "discordTokenSecret" : "t", "instanceType" : "t3.large", "bootstrapPrefix" : "p/a"}\n}`
    expect(insertEntry(oneLine, entryOf('b'))).to.equal(
      `${oneLine.slice(0, -2)},\n\t"b" : {"host" : "b" , "discordTokenSecret" : "b-token", "instanceType" : "t3.large", "bootstrapPrefix" : "bootstrap/b"}\n}`,
    )
  })

  it('uses the convention for values that are not given', () => {
    expect(conventionalEntry({ id: 'clawdinator-12' })).to.deep.equal({
      id: 'clawdinator-12',
      host: 'clawdinator-12',
      instanceType: 't3.large',
      bootstrapPrefix: 'bootstrap/clawdinator-12',
      discordTokenSecret: 'clawdinator-discord-token-12',
    })
    const tokenOf = (id: string) => conventionalEntry({ id }).discordTokenSecret
    expect(['arnie', 'canary-1', 'clawdinator', 'clawdinator-blue'].map(tokenOf)).to.deep.equal([
      'clawdinator-discord-token-arnie',
      'clawdinator-discord-token-canary-1',
      'clawdinator-discord-token-clawdinator',
      'clawdinator-discord-token-blue',
    ])
  })

  it('writes the host file first, and only if it does not exist', () => {
    const text = registryText(registryOf('clawdinator-1'))
    const plan = planAddition(filesOf(text), { id: 'clawdinator-2' })
    expect(plan.kind === 'change' && plan.changes.map(({ path }) => path)).to.deep.equal([
      'nix/hosts/clawdinator-2.nix',
      'nix/instances.json',
    ])
    const kept = planAddition(filesOf(text, '{ }'), { id: 'clawdinator-2' })
    expect(kept.kind === 'change' && kept.changes.map(({ path }) => path)).to.deep.equal(['nix/instances.json'])
    expect(kept.kind === 'change' && kept.notes[0]).to.include('was not changed')
  })

  it('completes an interrupted edit, and changes nothing the second time', () => {
    const text = insertEntry('{}', conventionalEntry({ id: 'clawdinator-1' }))
    const half = planAddition(filesOf(text), { id: 'clawdinator-1' })
    expect(half.kind === 'change' && half.changes.map(({ path }) => path)).to.deep.equal([
      'nix/hosts/clawdinator-1.nix',
    ])
    expect(planAddition(filesOf(text, 'x'), { id: 'clawdinator-1' }).kind).to.equal('nothing')
  })

  it('refuses an existing id with other values, and names the next free one', () => {
    const text = registryText(['clawdinator-1', 'clawdinator-2', 'arnie'].map((id) => conventionalEntry({ id })))
    const { code, message, hint } = refusal(text, { id: 'clawdinator-1', instanceType: 't3.xlarge' })
    expect(code).to.equal('REGISTRY_CONFLICT')
    expect(message).to.include('instanceType t3.large instead of t3.xlarge')
    expect(hint).to.match(/^Did you mean clawdinator-3\?/)
    expect(refusal(text, { id: 'arnie', host: 'x' }).hint).not.to.include('Did you mean')
  })

  const text = registryText(['clawdinator-1', 'clawdinator-2'].map((id) => conventionalEntry({ id })))
  const bad: [asked: Partial<EntryRequest>, code: string, message: RegExp, hint: RegExp][] = [
    [
      { discordTokenSecret: 'clawdinator-discord-token-1' },
      'REGISTRY_CONFLICT',
      /used by clawdinator-1/,
      /one token allows/,
    ],
    [{ host: 'clawdinator-2' }, 'REGISTRY_CONFLICT', /host "clawdinator-2" is already used/, /with --host/],
    [{ bootstrapPrefix: 'bootstrap/clawdinator-1' }, 'REGISTRY_CONFLICT', /is already used/, /--bootstrap-prefix/],
    [
      { bootstrapPrefix: 'bootstrap/clawdinator-1/x' },
      'REGISTRY_CONFLICT',
      /inside the prefix of clawdinator-1/,
      /--boot/,
    ],
    [
      { bootstrapPrefix: 'bootstrap' },
      'REGISTRY_CONFLICT',
      /clawdinator-1: .* is inside the prefix of x-1/,
      /--bootstrap-prefix/,
    ],
    [{ bootstrapPrefix: '../x' }, 'INVALID_REQUEST', /must be a relative S3 prefix/, /--bootstrap-prefix/],
    [{ bootstrapPrefix: '/x' }, 'INVALID_REQUEST', /must be a relative S3 prefix/, /--bootstrap-prefix/],
    [{ discordTokenSecret: '../t' }, 'INVALID_REQUEST', /must be the name of a secret/, /--discord-token-secret/],
    [{ instanceType: 'large' }, 'INVALID_REQUEST', /must be an EC2 instance type/, /--instance-type/],
    [{ host: 'A b' }, 'INVALID_REQUEST', /must be a host name/, /--host/],
    [{ id: 'all' }, 'INVALID_REQUEST', /the target for the whole fleet/, /such as clawdinator-3/],
    [{ id: 'common' }, 'INVALID_REQUEST', /the file that all hosts share/, /such as clawdinator-3/],
    [{ id: '../x' }, 'INVALID_REQUEST', /the id must begin with a-z/, /such as clawdinator-3/],
    [{ id: '__proto__' }, 'INVALID_REQUEST', /the id must begin with a-z/, /such as clawdinator-3/],
  ]
  for (const [asked, code, message, hint] of bad) {
    it(`refuses ${JSON.stringify(asked)}`, () => {
      const refused = refusal(text, { id: 'x-1', ...asked })
      expect(refused.code).to.equal(code)
      expect(refused.message).to.match(message)
      expect(refused.hint).to.match(hint)
    })
  }

  it('never leaves an invalid registry', () => {
    const word = fc.oneof(
      fc.constantFrom('clawdinator-1', 'bootstrap/clawdinator-1', 'bootstrap', '', '..', 'a/../b', 't3.large', 'x"y\n'),
      fc.string(),
    )
    const field = fc.option(word, { nil: undefined })
    fc.assert(
      fc.property(word, field, field, field, field, (id, host, instanceType, bootstrapPrefix, discordTokenSecret) => {
        const plan = planAddition(filesOf(text), { id, host, instanceType, bootstrapPrefix, discordTokenSecret })
        if (plan.kind !== 'change') return
        const after = plan.changes.find(({ path }) => path === 'nix/instances.json')?.after ?? ''
        expect(parseRegistry(after || text, 'x').length).to.be.within(2, 3)
        expect(
          plan.changes.every(({ path }) => /^nix\/(?:instances\.json|hosts\/[a-z][a-z0-9-]*\.nix)$/.test(path)),
        ).to.equal(true)
      }),
      { numRuns: 300 },
    )
  })

  it('removes the host file of a removed instance, unless it was edited by hand', () => {
    const paths = (hostFile: string | null) => {
      const plan = planRemoval(filesOf(text, hostFile), 'clawdinator-2')
      return plan.kind === 'change' ? [plan.changes.map(({ path }) => path), plan.notes.length] : plan
    }
    expect(paths(hostFileText('clawdinator-2'))).to.deep.equal([
      ['nix/hosts/clawdinator-2.nix', 'nix/instances.json'],
      0,
    ])
    expect(paths(hostFileText('clawdinator-2').replaceAll('\n', '\r\n'))).to.deep.equal([
      ['nix/hosts/clawdinator-2.nix', 'nix/instances.json'],
      0,
    ])
    expect(paths(hostFileText('clawdinator-1'))).to.deep.equal([['nix/instances.json'], 1])
    expect(paths(null)).to.deep.equal([['nix/instances.json'], 0])
  })

  it('matches the host files of this repository, so that they can be removed', () => {
    const ids = Object.keys(JSON.parse(readFileSync(join(ROOT, 'nix/instances.json'), 'utf8')))
    expect(ids).not.to.deep.equal([])
    for (const id of ids) {
      const text = readFileSync(join(ROOT, hostFilePath(id)), 'utf8')
      expect(isScaffold(id, text), `${id}: ${text}`).to.equal(true)
    }
  })

  it('refuses to remove an unknown entry, and may leave an empty registry', () => {
    expect(planRemoval(filesOf(text), 'clawdinator-3')).to.deep.include({ kind: 'refused', code: 'UNKNOWN_TARGET' })
    const last = planRemoval(filesOf(registryText(registryOf('a'))), 'a')
    expect(last.kind === 'change' && last.changes[0]?.after).to.equal('{}')
    expect(last.kind === 'change' && last.notes[0]).to.include('empty now')
  })

  it('prints a diff that git can apply', () => {
    const changes = [
      { path: 'nix/hosts/b.nix', before: null, after: 'x\n' },
      { path: 'nix/instances.json', before: '{}', after: '{"a": 1}\n' },
      { path: 'nix/hosts/c.nix', before: 'y\n', after: null },
    ]
    expect(unifiedDiff(changes)).to.equal(`--- /dev/null
+++ b/nix/hosts/b.nix
@@ -0,0 +1,1 @@
+x
--- a/nix/instances.json
+++ b/nix/instances.json
@@ -1,1 +1,1 @@
-{}
\\ No newline at end of file
+{"a": 1}
--- a/nix/hosts/c.nix
+++ /dev/null
@@ -1,1 +0,0 @@
-y
`)
  })
})

describe('the check across files', () => {
  const check = (text: string, hosts: readonly string[]) => checkFleetFiles(text, hosts).map(formatProblem)

  it('finds no problem if every entry has its file', () => {
    expect(check(registryText(registryOf('a', 'b')), ['a', 'b', 'common', 'default'])).to.deep.equal([])
  })

  it('finds all problems in the order of the file, warnings last', () => {
    const text = registryText([entryOf('a', { host: 'b' }), entryOf('b'), entryOf('c')])
    expect(check(text, ['c', 'old', 'a'])).to.deep.equal([
      'nix/instances.json:8:3: error: b: there is no nix/hosts/b.nix [missing-host-file]',
      'nix/instances.json:9:13: error: b: host "b" is already used by a [shared-value]',
      'nix/hosts/old.nix:1:1: warning: no entry of nix/instances.json uses this file [unused-host-file]',
    ])
  })

  it("reports no host files if the registry can't be read", () => {
    expect(check('{', ['old'])).to.have.length(1)
  })
})
