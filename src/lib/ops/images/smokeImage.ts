import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import { BOOT_LINE, READY_TAG } from '../../domain/images/names.js'
import { isNotFound, type Look, poll, untilSeen, whileYoung, YOUNG_MS } from '../poll.js'
import type { Clock, JobReport, Progress } from '../ports.js'

/** The tags of a smoke boot's machine and group: the AMI, and the time by which the boot must have ended. */
export interface SmokeTags {
  ami: string
  until: Date
}

export interface SmokeMachines {
  image(id: string): Promise<{ architecture: 'x86_64' | 'arm64'; available: boolean } | null>
  /** Everything with these tags, of any run. */
  tagged(): Promise<{ instances: (SmokeTags & { id: string })[]; groups: (SmokeTags & { id: string })[] }>
  /** Creates a group without ingress, in the subnet's VPC or the default one; null if one of that name exists. */
  createGroup(name: string, tags: SmokeTags, subnet: string | null): Promise<string | null>
  findGroup(name: string): Promise<string | null>
  /** Removes the egress of a new group. May be repeated. */
  closeGroup(id: string): Promise<void>
  /** Starts one machine without instance profile, public address or user data. */
  launch(machine: { ami: string; type: string; group: string; subnet: string | null; tags: SmokeTags }): Promise<string>
  look(id: string): Promise<{ state: string; checks: 'ok' | 'impaired' | 'initializing' | 'unknown' }>
  /** Its console output, as far as EC2 has it. */
  console(id: string): Promise<string>
  terminate(id: string): Promise<void>
  /** Overwrites the tag by which deploys find the image. */
  withdraw(ami: string): Promise<void>
  /** False if a machine is still in it. */
  deleteGroup(id: string): Promise<boolean>
}

export interface SmokePorts {
  machines: SmokeMachines
  clock: Clock
  /** Not interrupted by Ctrl-C, for cleaning up. */
  tidyClock: Clock
  progress: Progress
  report: JobReport
}

export interface SmokeOptions {
  ami: string
  /** Default: the smallest of the image's architecture. */
  type: string | undefined
  subnet: string | null
  timeoutMs: number
  /** Withdraw an image that does not boot. */
  withdraw: boolean
}

export interface Smoked {
  ami: string
  instanceId: string
  instanceType: string
  seconds: number
}

const SMALLEST = { x86_64: 't3.micro', arm64: 't4g.micro' }
const LONGEST_POLL_MS = 10_000
/** How long to look for an AMI before it counts as missing: it may be new. */
const LOOK_AGAIN_MS = 5_000
/** A machine takes a minute or two to terminate. */
const TIDY_MS = 10 * 60_000
/** Console lines that an error repeats. */
const CONSOLE_LINES = 20

/**
 * Boots the image once, on an isolated machine, until the status checks pass and the console shows the boot line. The
 * machine and its group are always removed afterwards; the next run removes what a killed run left.
 */
export async function smokeImage(options: SmokeOptions, ports: SmokePorts): Promise<Smoked> {
  const { machines, clock, progress } = ports
  const { ami, subnet } = options
  const began = clock.now().getTime()
  const image = await untilSeen(clock, LOOK_AGAIN_MS, () => machines.image(ami))
  if (!image?.available) {
    const what = image ? 'is not available' : 'does not exist'
    throw new ClawctlError('AMI_NOT_FOUND', `The AMI ${ami} ${what}.`, { hint: '`clawctl image list` shows the AMIs.' })
  }
  const type = options.type ?? SMALLEST[image.architecture]
  await removeLeftovers(ami, ports)
  const tags: SmokeTags = { ami, until: new Date(began + options.timeoutMs + TIDY_MS) }
  let instance: string | null = null
  let group: string | null = null
  try {
    group = await makeGroup(tags, subnet, ports)
    const id = group
    await whileYoung(ports, { id }, () => machines.closeGroup(id))
    instance = await whileYoung(ports, { id }, () => machines.launch({ ami, type, group: id, subnet, tags }))
    const machine = instance
    await progress.task(`Boot ${ami} on ${machine} (${type})`, (update) =>
      awaitBoot(machine, options.timeoutMs, update, ports),
    )
    const seconds = (clock.now().getTime() - began) / 1000
    await ports.report.output('boot_seconds', String(Math.round(seconds)))
    return { ami, instanceId: machine, instanceType: type, seconds }
  } catch (error) {
    throw options.withdraw ? await withdrawn(ami, asClawctlError(error), ports) : error
  } finally {
    const bornAt = new Date(began)
    const own = instance === null && group !== null ? await findOwn(tags, ports) : instance === null ? [] : [instance]
    await tidy({ instances: own, groups: group === null ? [] : [group], bornAt }, ports)
  }
}

/** @throws ClawctlError UPSTREAM if the group's name exists but EC2 does not show the group */
async function makeGroup(tags: SmokeTags, subnet: string | null, { machines, clock }: SmokePorts): Promise<string> {
  const name = `clawdinator-smoke-${crypto.randomUUID().slice(0, 8)}`
  const made = await machines.createGroup(name, tags, subnet)
  if (made !== null) return made
  // The name is unique to this run: the answer to an earlier attempt was lost.
  const found = await untilSeen(clock, YOUNG_MS, () => machines.findGroup(name))
  if (found !== null) return found
  throw new ClawctlError('UPSTREAM', `EC2 does not show the security group ${name}, which it has created.`, {
    hint: 'Run the command again: it removes the group when EC2 shows it.',
  })
}

/** The machines of this run: the answer to its launch may have been lost. */
async function findOwn(tags: SmokeTags, { machines }: SmokePorts): Promise<string[]> {
  const { instances } = await machines.tagged().catch(() => ({ instances: [] }))
  return instances.flatMap(({ id, until }) => (until.getTime() === tags.until.getTime() ? [id] : []))
}

/** A failed boot withdraws the image; a boot that could not be tried does not. */
async function withdrawn(ami: string, error: ClawctlError, ports: SmokePorts): Promise<ClawctlError> {
  if (error.code !== 'HEALTH_FAILED' && error.code !== 'TIMED_OUT') return error
  try {
    await whileYoung(ports, { id: ami }, () => ports.machines.withdraw(ami))
  } catch (failure) {
    ports.progress.note(`Could not overwrite ${READY_TAG}=true of ${ami}: ${(failure as Error).message}`)
    return error
  }
  const hint = `${ami} is tagged ${READY_TAG}=withdrawn now: no deploy uses it. ${error.hint ?? ''}`.trim()
  return withPartial(error, { withdrawn: ami }, hint)
}

async function awaitBoot(
  id: string,
  timeoutMs: number,
  update: (text: string) => void,
  { machines, clock }: SmokePorts,
): Promise<void> {
  const look = async (): Promise<Look<true>> => {
    const { state, checks } = await machines.look(id)
    if (state !== 'pending' && state !== 'running') throw await failed(id, `The machine is ${state}.`, machines)
    if (checks === 'impaired') throw await failed(id, 'The machine fails its status checks.', machines)
    if (state === 'pending') return { wait: 'pending' }
    const booted = (await machines.console(id)).includes(BOOT_LINE)
    if (checks === 'ok' && booted) return { done: true }
    return { wait: `checks ${checks}, ${booted ? 'booted' : 'the console does not show the boot line yet'}` }
  }
  const result = await poll({ clock, timeoutMs, longestMs: LONGEST_POLL_MS, onWait: update }, look)
  if ('timedOut' in result) {
    throw await failed(id, `The machine did not boot in time: ${result.timedOut}.`, machines, 'TIMED_OUT')
  }
}

async function failed(
  id: string,
  message: string,
  machines: SmokeMachines,
  code: 'HEALTH_FAILED' | 'TIMED_OUT' = 'HEALTH_FAILED',
): Promise<ClawctlError> {
  const output = await machines.console(id).catch(() => '')
  const lines = output.trimEnd().split(/\r?\n/).filter(Boolean).slice(-CONSOLE_LINES)
  return new ClawctlError(code, message, {
    hint:
      lines.length > 0
        ? `Its console ends with: ${lines.at(-1)}`
        : 'Its console is empty: the image may need another boot mode than the one it was registered with.',
    details: lines,
  })
}

/** Removes leftovers: of this AMI immediately, of others when their run must have ended. */
async function removeLeftovers(ami: string, ports: SmokePorts): Promise<void> {
  const now = ports.clock.now()
  const { instances, groups } = await ports.machines.tagged()
  const isLeft = (tags: SmokeTags) => tags.ami === ami || tags.until < now
  const [machines, left] = [instances.filter(isLeft).map(({ id }) => id), groups.filter(isLeft).map(({ id }) => id)]
  if (machines.length + left.length === 0) return
  ports.progress.note(`An earlier smoke boot was killed; removing ${[...machines, ...left].join(', ')}.`)
  // EC2 has just listed them, so "not found" means terminated.
  await tidy({ instances: machines, groups: left, bornAt: new Date(0) }, ports)
}

/** Never throws, to keep the earlier error: it reports what it could not remove, and the next run removes it. */
async function tidy(
  left: { instances: readonly string[]; groups: readonly string[]; bornAt: Date },
  { machines, tidyClock: clock, progress }: SmokePorts,
): Promise<void> {
  const { instances, groups, bornAt } = left
  /** "Not found" for a new resource does not mean that it is gone. */
  const removed = async <T>(id: string, work: () => Promise<T>): Promise<T | 'gone'> => {
    try {
      return await whileYoung({ clock, progress }, { id, bornAt }, work)
    } catch (error) {
      if (isNotFound(error)) return 'gone'
      throw error
    }
  }
  if (instances.length + groups.length === 0) return
  try {
    for (const id of instances) await removed(id, () => machines.terminate(id))
    for (const group of groups) {
      const result = await poll({ clock, timeoutMs: TIDY_MS, longestMs: LONGEST_POLL_MS }, async () =>
        (await removed(group, () => machines.deleteGroup(group)))
          ? { done: true }
          : { wait: 'its machine is not terminated yet' },
      )
      if ('timedOut' in result) progress.note(`The security group ${group} could not be removed: ${result.timedOut}.`)
    }
  } catch (error) {
    const what = [...instances, ...groups].join(' and ')
    progress.note(`Could not remove ${what}: ${(error as Error).message} The next smoke boot tries again.`)
  }
}
