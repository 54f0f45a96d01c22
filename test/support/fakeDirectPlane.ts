import type { Registry } from '../../src/lib/domain/registry/registry.js'
import type { DeployOptions } from '../../src/lib/ops/deploy/plane.js'
import { FakeCloud } from './fakeCloud.js'
import { bundleOf, FakeClock, FakeLocks, FakeProgress, FakeReport, FakeStore, hostOf, registrySource } from './fakes.js'

/** A whole direct plane in memory: the hosts named exist on the old image, every registry entry has its bundle. */
export function fakeDirectPlane(registry: Registry, existing: readonly string[]) {
  const clock = new FakeClock()
  const store = new FakeStore()
  const cloud = new FakeCloud(store, clock)
  const progress = new FakeProgress()
  const report = new FakeReport()
  for (const id of existing) cloud.add(hostOf(id))
  for (const entry of registry) {
    const { manifest, texts } = bundleOf(entry)
    store.set(`${entry.bootstrapPrefix}/config.json`, manifest)
    for (const [key, text] of texts) store.set(`${entry.bootstrapPrefix}/${key}`, text)
  }
  let plans = 0
  const ports = {
    registry: registrySource(registry),
    compute: cloud,
    machines: cloud,
    store,
    bundles: store,
    tofu: cloud,
    stack: cloud,
    locks: new FakeLocks(),
    runs: null,
    clock,
    tidyClock: { now: clock.now, sleep: (ms: number) => clock.pass(ms) },
    progress,
    report,
    run: { id: 77, url: 'https://github.example/runs/77' },
    defaultStrategy: 'handover' as const,
    planFile: (id: string) => {
      plans += 1
      return `/plans/${id}-${plans}`
    },
  }
  return { clock, store, cloud, progress, report, ports }
}

export const deployOptions = (change: Partial<DeployOptions> = {}): DeployOptions => ({
  planOnly: false,
  onFailure: 'rollback',
  healthTimeoutMs: 15 * 60_000,
  wait: true,
  waitTimeoutMs: 0,
  ...change,
})
