import { expect } from 'chai'
import fc from 'fast-check'
import type { DeployHost } from '../../../src/lib/domain/contract/index.js'
import {
  type CatalogImage,
  type Inventory,
  idsIn,
  isReady,
  newestReady,
  rollbackTargets,
} from '../../../src/lib/domain/images/inventory.js'
import { planPrune, removalsOf, sizeOfRemovals, stillGoing } from '../../../src/lib/domain/images/prune.js'

const DAY = 86_400_000
const NOW = new Date('2026-11-22T12:00:00Z')
const ago = (days: number) => new Date(NOW.getTime() - days * DAY)
const hex = (n: number, digits: number) => n.toString(16).padStart(digits, '0')
const digestOf = (n: number) => hex(n + 1, 12).padEnd(64, 'd')

function image(n: number, days: number, change: Partial<CatalogImage> = {}): CatalogImage {
  return {
    id: `ami-${hex(n, 17)}`,
    name: `nixos-${n}`,
    state: 'available',
    createdAt: ago(days),
    snapshotId: `snap-${hex(n, 17)}`,
    sizeGib: 8,
    tags: { clawdinator: 'true', app: 'clawdinator', digest: digestOf(n) },
    ...change,
  }
}
const snapshot = (n: number, days: number, change = {}) => ({
  id: `snap-${hex(n, 17)}`,
  state: 'completed',
  startedAt: ago(days),
  sizeGib: 8,
  tags: { app: 'clawdinator', digest: digestOf(n) },
  ...change,
})
const key = (n: number) => `images/nixos-${digestOf(n).slice(0, 12)}.raw`
const manifest = (n: number) => `images/manifests/${digestOf(n)}.blocks`
const host = (id: string, ami: string | null, previousAmi: string | null): DeployHost => ({
  id,
  outcome: 'replaced',
  ami,
  previousAmi,
  instanceId: null,
})
function inventory(change: Partial<Inventory> = {}): Inventory {
  return {
    images: [],
    snapshots: [],
    objects: [],
    uploads: [],
    machines: [],
    named: new Set(),
    deploys: [],
    importing: new Set(),
    ...change,
  }
}
const policy = { keep: 1, olderThanMs: 30 * DAY, now: NOW }
const deploy = (hosts: DeployHost[], change = {}) => ({
  status: 'succeeded' as const,
  ami: null,
  amiOverride: null,
  createdAt: ago(1).toISOString(),
  hosts,
  ...change,
})
const reasons = (of: Inventory, p = policy) =>
  Object.fromEntries(
    planPrune(of, p).images.map((v) => [v.item.name, 'keep' in v ? v.keep.code : `-${v.remove}`] as const),
  )

describe('planPrune', () => {
  it('keeps images by reference first, then by number and age, with the reason', () => {
    const images = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => image(n, 100 + n))
    const id = (n: number) => images[n]?.id ?? ''
    const of = inventory({
      images: [...images, image(9, 3, { tags: {} })],
      machines: [
        { instanceId: 'i-1', hostId: 'a', imageId: id(2), launchedAt: null },
        { instanceId: 'i-2', hostId: null, imageId: id(8), launchedAt: null },
      ],
      named: new Set([id(3)]),
      deploys: [deploy([host('a', id(2), id(4))]), deploy([], { status: 'running', ami: id(5) })],
    })
    expect(reasons(of, { ...policy, keep: 2 })).to.deep.equal({
      'nixos-0': 'latest',
      'nixos-1': 'newest',
      'nixos-2': 'in-use',
      'nixos-3': 'in-state',
      'nixos-4': 'rollback',
      'nixos-5': 'deploying',
      'nixos-6': '-old',
      'nixos-7': '-old',
      'nixos-8': 'in-use',
      'nixos-9': 'young',
    })
  })

  it('removes snapshots, objects and manifests only together with their AMI', () => {
    const of = inventory({
      images: [image(0, 1), image(1, 99), image(2, 98, { snapshotId: `snap-${hex(0, 17)}` })],
      snapshots: [
        snapshot(0, 1),
        snapshot(1, 99),
        snapshot(3, 2),
        snapshot(4, 0.5),
        snapshot(5, 2, { state: 'pending' }),
        snapshot(6, 4, { state: 'pending' }),
        snapshot(7, 99, { tags: { app: 'clawdinator' } }),
      ],
      objects: [key(0), manifest(0), key(1), manifest(1), key(8), 'images/notes.txt'].map((k) => ({
        key: k,
        bytes: 10,
        modifiedAt: ago(99),
      })),
      uploads: [
        { key: key(9), uploadId: 'old', startedAt: ago(2) },
        { key: key(9), uploadId: 'new', startedAt: ago(0.5) },
      ],
      importing: new Set([key(8)]),
    })
    const going = removalsOf(planPrune(of, policy))
    expect(going.images.map((i) => i.name)).to.deep.equal(['nixos-2', 'nixos-1'])
    // that of nixos-2 is the latest's, too
    expect(going.snapshots.map((s) => s.id)).to.deep.equal([1, 3, 6].map((n) => `snap-${hex(n, 17)}`))
    expect(going.objects.map((o) => o.key)).to.deep.equal([key(1), manifest(1)])
    expect(going.uploads.map((u) => u.uploadId)).to.deep.equal(['old'])
    expect(sizeOfRemovals(going)).to.deep.equal({ objectBytes: 20, snapshotGib: 24 })
  })

  it('removes the young manifest of a removed AMI, and keeps the zeros for uploads', () => {
    const objects = [manifest(1), 'images/zeros/8', 'images/zeros/9'].map((key) => ({
      key,
      bytes: 8,
      modifiedAt: ago(0.1),
    }))
    const plan = planPrune(inventory({ images: [image(0, 1), image(1, 99)], objects }), policy)
    expect(plan.objects.map((v) => ('keep' in v ? v.keep.code : v.remove))).to.deep.equal([
      'of-removed-image',
      'zeros',
      'foreign',
    ])
  })

  it('keeps an AMI without a date, and one whose snapshot the state names', () => {
    const undated = image(1, 0, { createdAt: new Date(Number.NaN), state: 'pending' })
    const of = inventory({ images: [image(0, 1), undated, image(2, 99)], named: new Set([`snap-${hex(2, 17)}`]) })
    expect(reasons(of)).to.include({ 'nixos-1': 'young', 'nixos-2': 'in-state' })
  })

  const indexes = fc.uniqueArray(fc.nat(11), { maxLength: 6 })
  const world = fc.record({
    ages: fc.array(fc.double({ min: 0, max: 120, noNaN: true }), { minLength: 1, maxLength: 12 }),
    unready: indexes,
    run: indexes,
    named: indexes,
    hosts: fc.array(fc.tuple(fc.nat(3), fc.nat(11), fc.nat(11)), { maxLength: 6 }),
    keep: fc.integer({ min: 1, max: 4 }),
    days: fc.integer({ min: 1, max: 60 }),
  })
  it('never removes anything that is in use or young, for any account', () => {
    fc.assert(
      fc.property(world, ({ ages, unready, run, named, hosts, keep, days }) => {
        const images = ages.map((days, n) =>
          image(n, days, unready.includes(n) ? { tags: { app: 'clawdinator', digest: digestOf(n) } } : {}),
        )
        const idOf = (n: number) => images[n % images.length]?.id ?? ''
        const of = inventory({
          images,
          snapshots: images.map((_, n) => snapshot(n, ages[n] ?? 0)),
          objects: images.flatMap((_, n) =>
            [key(n), manifest(n)].map((k) => ({ key: k, bytes: 1, modifiedAt: ago(200) })),
          ),
          machines: run.map((n) => ({
            instanceId: `i-${n}`,
            hostId: `h${n % 4}`,
            imageId: idOf(n),
            launchedAt: ago(n),
          })),
          named: new Set(named.map(idOf)),
          deploys: hosts.map(([h, a, b]) => deploy([host(`h${h}`, idOf(a), idOf(b))])),
        })
        const plan = planPrune(of, { keep, olderThanMs: days * DAY, now: NOW })
        const going = removalsOf(plan)
        const gone = new Set(going.images.map(({ id }) => id))
        const needed = [
          ...of.machines.map(({ imageId }) => imageId),
          ...of.named,
          ...rollbackTargets(of).values(),
          newestReady(images)?.id ?? '',
        ]
        for (const id of needed) expect(gone.has(id), id).to.equal(false)
        for (const one of going.images) expect(NOW.getTime() - one.createdAt.getTime()).to.be.above(days * DAY)
        const stay = images.filter(({ id }) => !gone.has(id))
        const ready = images.filter(isReady).length
        expect(stay.filter(isReady).length).to.be.at.least(Math.min(keep, ready))
        // every kept AMI keeps all its resources
        for (const one of stay) {
          const n = images.indexOf(one)
          expect(going.snapshots.some(({ id }) => id === one.snapshotId)).to.equal(false)
          expect(going.objects.some((o) => o.key === key(n) || o.key === manifest(n))).to.equal(false)
        }
        // a removed AMI is removed with all its resources
        for (const one of going.images) expect(going.snapshots.some(({ id }) => id === one.snapshotId)).to.equal(true)
        // a second run removes no further AMI
        const later = planPrune({ ...of, images: stay }, { keep, olderThanMs: days * DAY, now: NOW })
        expect(removalsOf(later).images).to.deep.equal([])
        expect(stillGoing(going, removalsOf(later)).images).to.deep.equal([])
      }),
      { numRuns: 300 },
    )
  })
})

describe('rollbackTargets', () => {
  const machine = (hostId: string, imageId: string) => ({ instanceId: 'i', hostId, imageId, launchedAt: null })
  it('are the AMIs before the current ones, also after failed and repeated deploys', () => {
    const deploys = [
      deploy([host('a', 'now', 'now'), host('b', 'two', 'one')]),
      deploy([host('a', 'now', 'before')]),
      deploy([host('a', 'before', 'oldest')]),
    ]
    const targets = rollbackTargets({ machines: [machine('a', 'now')], deploys })
    expect([...targets]).to.have.deep.members([
      ['b', 'one'],
      ['a', 'before'],
    ])
  })
})

describe('idsIn', () => {
  it('finds AMI and snapshot ids at any place in the text', () => {
    const text = '{"ami":"ami-0123456789abcdef0","x":"ami-01234567","s":"snap-0123456789abcdef0","n":"ami-x"}'
    expect([...idsIn(text)]).to.deep.equal(['ami-0123456789abcdef0', 'ami-01234567', 'snap-0123456789abcdef0'])
  })
})
