import { expect } from 'chai'
import { ClawctlError } from '../../../src/lib/domain/errors.js'
import type { CatalogPorts } from '../../../src/lib/ops/images/catalog.js'
import { pruneImages } from '../../../src/lib/ops/images/pruneImages.js'
import { failureOf } from '../../support/failure.js'
import { FakeClock, FakeProgress, START } from '../../support/fakes.js'

const DAY = 86_400_000
const ago = (days: number) => new Date(new Date(START).getTime() - days * DAY)
const digest = (n: number) => `${n}`.repeat(64)

class Killed extends Error {}

/** Three AMIs, of which the newest ready one is kept; the process may be killed at any change. */
class FakeAccount {
  images = new Map([1, 2, 3].map((n) => [`ami-${n}`, { n, ready: 'true' }]))
  snapshots = new Set(['snap-1', 'snap-2', 'snap-3'])
  objects = new Set([1, 2, 3].map((n) => `images/nixos-${digest(n).slice(0, 12)}.raw`))
  machines: { imageId: string }[] = []
  log: string[] = []
  /** The number of changes until one is killed, or fails. */
  left = Number.POSITIVE_INFINITY
  failing: Error = new Killed()
  onInventory: () => void = () => {}

  #change(text: string): void {
    if (this.left-- <= 0) throw this.failing
    this.log.push(text)
  }

  get ports() {
    const tags = (n: number, ready: string) => ({ app: 'clawdinator', digest: digest(n), clawdinator: ready })
    const catalog: CatalogPorts = {
      images: {
        find: async () =>
          [...this.images].map(([id, { n, ready }]) => ({
            id,
            name: id,
            state: 'available',
            stateReason: null,
            createdAt: ago(100 - n).toISOString(),
            snapshotId: `snap-${n}`,
            sizeGib: 8,
            tags: tags(n, ready),
          })),
        tag: async (id, { clawdinator = '' }) => {
          this.#change(`${clawdinator} ${id}`)
          const image = this.images.get(id)
          if (image) image.ready = clawdinator
        },
        deregister: async (id) => {
          this.#change(`deregister ${id}`)
          this.images.delete(id)
        },
      },
      snapshots: {
        find: async () =>
          [...this.snapshots].map((id) => ({
            id,
            state: 'completed' as const,
            sizeGib: 8,
            encrypted: false,
            kmsKey: null,
            startedAt: ago(90),
            progress: '100%',
            message: null,
            tags: tags(Number(id.slice(-1)), ''),
          })),
        describe: async () => null,
        delete: async (id) => {
          this.#change(`delete ${id}`)
          this.snapshots.delete(id)
        },
        importTasks: async () => [],
      },
      objects: {
        bucket: 'b',
        list: async (prefix) =>
          prefix === 'images/' ? [...this.objects].map((key) => ({ key, size: 5, modifiedAt: ago(90) })) : [],
        get: async () => null,
        delete: async (key) => {
          this.#change(`delete ${key}`)
          this.objects.delete(key)
        },
        openUploads: async () => [],
        abortUpload: async () => {},
      },
      machines: {
        list: async () => {
          this.onInventory()
          return this.machines.map((m) => ({ ...m, instanceId: 'i-1', hostId: null, launchedAt: null }))
        },
      },
    }
    return { ...catalog, clock: new FakeClock(), progress: new FakeProgress() }
  }

  prune(change: { confirm?: () => Promise<boolean> } = {}) {
    const options = { keep: 1, olderThanMs: 30 * DAY, dryRun: false, confirm: async () => true, ...change }
    return pruneImages(options, this.ports)
  }
}

describe('pruneImages', () => {
  it('removes the tag first, then the AMI, then its snapshot, then objects', async () => {
    const account = new FakeAccount()
    const { removed, objectBytes, snapshotGib } = await account.prune()
    expect(removed.images).to.deep.equal(['ami-2', 'ami-1'])
    expect([objectBytes, snapshotGib]).to.deep.equal([10, 16])
    expect(account.log.slice(0, 6)).to.deep.equal([
      'pruned ami-2',
      'deregister ami-2',
      'pruned ami-1',
      'deregister ami-1',
      'delete snap-1',
      'delete snap-2',
    ])
    expect([[...account.images.keys()], [...account.snapshots], account.objects.size]).to.deep.equal([
      ['ami-3'],
      ['snap-3'],
      1,
    ])
  })

  it('ends with the same result after a kill at any change and a second run', async () => {
    for (let changes = 0; changes < 8; changes++) {
      const account = new FakeAccount()
      account.left = changes
      await account.prune().catch(() => {})
      account.left = Number.POSITIVE_INFINITY
      await account.prune()
      const left = [[...account.images.keys()], [...account.snapshots], account.objects.size]
      expect(left, `killed after ${changes}`).to.deep.equal([['ami-3'], ['snap-3'], 1])
    }
  })

  it('continues after a refusal of AWS, keeps the snapshot of the AMI that stays, and reports it', async () => {
    const account = new FakeAccount()
    account.failing = new ClawctlError('DENIED', 'AWS refused EC2 DeregisterImage.')
    account.left = 1
    const failure = await failureOf(account.prune())
    expect(failure.code).to.equal('DENIED')
    expect(failure.message).to.include('more could not be removed')
    expect(failure.partial?.removed).to.deep.include({ images: [] })
    expect([account.images.size, account.snapshots.size]).to.deep.equal([3, 3])
  })

  it('removes nothing that came into use during the confirmation', async () => {
    const account = new FakeAccount()
    const { removed } = await account.prune({
      confirm: async () => {
        account.machines = [{ imageId: 'ami-1' }]
        return true
      },
    })
    expect(removed.images).to.deep.equal(['ami-2'])
    expect([...account.snapshots]).to.deep.equal(['snap-1', 'snap-3'])
  })

  it('removes nothing without confirmation', async () => {
    const account = new FakeAccount()
    await account.prune({ confirm: async () => false })
    expect(account.log).to.deep.equal([])
  })
})
