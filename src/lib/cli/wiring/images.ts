import { homedir } from 'node:os'
import { join } from 'node:path'
import { digests, imageFiles } from '../../adapters/images/imageFile.js'
import { createImageObjects } from '../../adapters/images/imageObjects.js'
import { createImages } from '../../adapters/images/images.js'
import { journalFile, scanRecord } from '../../adapters/images/journalFile.js'
import { createSnapshots } from '../../adapters/images/snapshots.js'
import { githubJobReport } from '../../adapters/jobReport.js'
import { directSettings, type Env } from '../../adapters/settings.js'
import type { ImagePorts } from '../../ops/images/ports.js'
import type { Clock, Progress } from '../../ops/ports.js'

/** A job waits half a minute rather than lose an upload of gigabytes to a service that is busy. */
const PATIENCE = { attempts: 8, attemptMs: 20_000 }

export interface ImageOptions {
  /** How many blocks or parts may be on their way. */
  connections?: number
  /** Instead of XDG_STATE_HOME/clawctl. */
  stateDir?: string
}

/** The adapters of image work. @throws ClawctlError NOT_CONFIGURED */
export function imagePorts(
  shared: { env: Env; clock: Clock; progress: Progress; stop: AbortSignal },
  options: ImageOptions,
): ImagePorts {
  const { env, clock, progress, stop } = shared
  const aws = { ...directSettings(env), stop, patience: PATIENCE, connections: options.connections ?? 64 }
  const stateDir = options.stateDir ?? join(env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'clawctl')
  return {
    files: imageFiles,
    digests,
    objects: createImageObjects(aws),
    snapshots: createSnapshots(aws),
    images: createImages(aws),
    journal: (name) => journalFile(join(stateDir, 'images'), name),
    scans: scanRecord(join(stateDir, 'images')),
    clock,
    progress,
    report: githubJobReport(env),
    stop,
  }
}
