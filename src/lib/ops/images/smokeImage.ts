import { asClawctlError, ClawctlError, withPartial } from '../../domain/errors.js'
import { BOOT_MARKER } from '../../domain/images/marker.js'
import { READY_TAG } from '../../domain/images/names.js'
import { type Look, poll } from '../poll.js'
import type { Clock, JobReport, Progress } from '../ports.js'

/** What a smoke boot has on its machine and its group: the AMI, and until when it can be at work. */
export interface SmokeMark {
  ami: string
  until: Date
}

export interface SmokeMachines {
  image(id: string): Promise<{ architecture: 'x86_64' | 'arm64'; available: boolean } | null>
  /** All that bears a mark, by whomever it was left. */
  marked(): Promise<{ instances: (SmokeMark & { id: string })[]; groups: (SmokeMark & { id: string })[] }>
  /** A group that lets nothing in and nothing out, in the subnet's VPC or the default one. */
  createGroup(mark: SmokeMark, subnet: string | null): Promise<string>
  /** One machine without an instance profile, a public address or user data. */
  launch(machine: { ami: string; type: string; group: string; subnet: string | null; mark: SmokeMark }): Promise<string>
  look(id: string): Promise<{ state: string; checks: 'ok' | 'impaired' | 'initializing' | 'unknown' }>
  /** What it has printed, as far as EC2 has it. */
  console(id: string): Promise<string>
  /** It is not an error when there is none. */
  terminate(ids: readonly string[]): Promise<void>
  /** Overwrites the tag by which deploys find the image. */
  withdraw(ami: string): Promise<void>
  /** False where a machine is still in it. It is not an error when there is none. */
  deleteGroup(id: string): Promise<boolean>
}

export interface SmokePorts {
  machines: SmokeMachines
  clock: Clock
  /** For what has to be put in order after Ctrl-C too. */
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
  /** What doesn't boot is no image to deploy any more. */
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
/** A machine takes a minute or two to be gone. */
const TIDY_MS = 10 * 60_000
/** As much of the console as an error repeats. */
const CONSOLE_LINES = 20

/**
 * Boots the image once, apart from everything, until the status checks pass and the console has its marker. The machine
 * and its group are gone afterwards, however it ends; what a killed run has left goes with the next.
 */
export async function smokeImage(options: SmokeOptions, ports: SmokePorts): Promise<Smoked> {
  const { machines, clock, progress } = ports
  const { ami, subnet } = options
  const began = clock.now().getTime()
  const image = await machines.image(ami)
  if (!image?.available) {
    const what = image ? 'is not available' : 'does not exist'
    throw new ClawctlError('AMI_NOT_FOUND', `The AMI ${ami} ${what}.`, { hint: '`clawctl image list` shows the AMIs.' })
  }
  const type = options.type ?? SMALLEST[image.architecture]
  await removeLeftovers(ami, ports)
  const mark: SmokeMark = { ami, until: new Date(began + options.timeoutMs + TIDY_MS) }
  let instance: string | null = null
  let group: string | null = null
  try {
    group = await machines.createGroup(mark, subnet)
    instance = await machines.launch({ ami, type, group, subnet, mark })
    const id = instance
    await progress.task(`Boot ${ami} on ${id} (${type})`, (say) => awaitBoot(id, options.timeoutMs, say, ports))
    const seconds = (clock.now().getTime() - began) / 1000
    await ports.report.output('boot_seconds', String(Math.round(seconds)))
    return { ami, instanceId: id, instanceType: type, seconds }
  } catch (error) {
    throw options.withdraw ? await withdrawn(ami, asClawctlError(error), ports) : error
  } finally {
    await tidy(instance === null ? [] : [instance], group === null ? [] : [group], ports)
  }
}

/** A boot that failed withdraws the image; one that could not be tried says nothing about it. */
async function withdrawn(ami: string, error: ClawctlError, { machines, progress }: SmokePorts): Promise<ClawctlError> {
  if (error.code !== 'HEALTH_FAILED' && error.code !== 'TIMED_OUT') return error
  try {
    await machines.withdraw(ami)
  } catch (failure) {
    progress.note(`Could not overwrite ${READY_TAG}=true of ${ami}: ${(failure as Error).message}`)
    return error
  }
  const hint = `${ami} has ${READY_TAG}=withdrawn now: no deploy takes it. ${error.hint ?? ''}`.trim()
  return withPartial(error, { withdrawn: ami }, hint)
}

async function awaitBoot(
  id: string,
  timeoutMs: number,
  say: (text: string) => void,
  { machines, clock }: SmokePorts,
): Promise<void> {
  const look = async (): Promise<Look<true>> => {
    const { state, checks } = await machines.look(id)
    if (state !== 'pending' && state !== 'running') throw await failed(id, `The machine is ${state}.`, machines)
    if (checks === 'impaired') throw await failed(id, 'The machine fails its status checks.', machines)
    if (state === 'pending') return { wait: 'pending' }
    const marked = (await machines.console(id)).includes(BOOT_MARKER)
    if (checks === 'ok' && marked) return { done: true }
    return { wait: `checks ${checks}, ${marked ? 'booted' : 'the console has no marker yet'}` }
  }
  const result = await poll({ clock, timeoutMs, longestMs: LONGEST_POLL_MS, onWait: say }, look)
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
  const said = await machines.console(id).catch(() => '')
  const lines = said.trimEnd().split(/\r?\n/).filter(Boolean).slice(-CONSOLE_LINES)
  return new ClawctlError(code, message, {
    hint:
      lines.length > 0
        ? `Its console ends with: ${lines.at(-1)}`
        : 'Its console is empty: the image may have another boot mode than it was registered with.',
    details: lines,
  })
}

/** Of this AMI at once, of others when no run can be at work with them any more. */
async function removeLeftovers(ami: string, ports: SmokePorts): Promise<void> {
  const now = ports.clock.now()
  const { instances, groups } = await ports.machines.marked()
  const isLeft = (mark: SmokeMark) => mark.ami === ami || mark.until < now
  const [machines, left] = [instances.filter(isLeft).map(({ id }) => id), groups.filter(isLeft).map(({ id }) => id)]
  if (machines.length + left.length === 0) return
  ports.progress.note(`An earlier smoke boot was cut off; removing ${[...machines, ...left].join(', ')}.`)
  await tidy(machines, left, ports)
}

/** Never hides what went wrong before: what could not be removed is told, and found by the next run. */
async function tidy(instances: readonly string[], groups: readonly string[], ports: SmokePorts): Promise<void> {
  const { machines, tidyClock: clock, progress } = ports
  if (instances.length + groups.length === 0) return
  try {
    if (instances.length > 0) await machines.terminate(instances)
    for (const group of groups) {
      const result = await poll({ clock, timeoutMs: TIDY_MS, longestMs: LONGEST_POLL_MS }, async () =>
        (await machines.deleteGroup(group)) ? { done: true } : { wait: 'its machine is not gone yet' },
      )
      if ('timedOut' in result) progress.note(`The security group ${group} could not be removed: ${result.timedOut}.`)
    }
  } catch (error) {
    const what = [...instances, ...groups].join(' and ')
    progress.note(`Could not remove ${what}: ${(error as Error).message} The next smoke boot tries again.`)
  }
}
