import { systemClock } from '../../adapters/clock.js'
import { createMachines, createSmokeMachines } from '../../adapters/images/machines.js'
import { githubJobReport } from '../../adapters/jobReport.js'
import { directSettings } from '../../adapters/settings.js'
import type { CatalogPorts } from '../../ops/images/catalog.js'
import type { SmokePorts } from '../../ops/images/smokeImage.js'
import type { Clock, Progress } from '../../ops/ports.js'
import { imagePorts } from './images.js'

type Shared = Parameters<typeof imagePorts>[0]

/** The adapters of `image list` and `image prune`. @throws ClawctlError NOT_CONFIGURED */
export function catalogPorts(shared: Shared): CatalogPorts & { clock: Clock; progress: Progress } {
  const { images, snapshots, objects, clock, progress } = imagePorts(shared, {})
  const machines = createMachines(directSettings(shared.env))
  return { images, snapshots, objects, machines, clock, progress }
}

/** The adapters of `image smoke`. @throws ClawctlError NOT_CONFIGURED */
export function smokePorts({ env, clock, progress }: Shared): SmokePorts {
  const machines = createSmokeMachines(directSettings(env))
  return { machines, clock, tidyClock: systemClock(), progress, report: githubJobReport(env) }
}
