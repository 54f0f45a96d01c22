import { NO_ADOPTION } from '../../domain/deploy/expectation.js'
import { NO_AMI } from '../../domain/deploy/image.js'
import { plannedChanges } from '../../domain/deploy/planGuard.js'
import { machinesInState, planInputs } from '../../domain/deploy/slots.js'
import {
  type Difference,
  DRIFT_ISSUE_TAG,
  DRIFT_LABEL,
  DRIFT_TITLE,
  driftLine,
  findDrift,
  renderDrift,
} from '../../domain/drift/drift.js'
import { ClawctlError } from '../../domain/errors.js'
import { newestRecords } from '../deploy/deploys.js'
import { readRoles } from '../deploy/fleetStatus.js'
import { readRegistry } from '../registry/readRegistry.js'
import type { DriftPorts, Issues } from './ports.js'

export interface Drift {
  differences: Difference[]
  /** The issue that reports them, or that was closed because there are none. */
  issueUrl: string | null
}

/**
 * Compares the fleet with the registry, with the stack (by a plan that is never applied), and with the last deploys.
 * @throws ClawctlError DRIFT with every difference, after the issue was updated
 */
export async function checkDrift(ports: DriftPorts): Promise<Drift> {
  const { compute, tofu, progress } = ports
  const differences = await progress.task('compare the fleet with registry, stack and last deploys', async (say) => {
    const registry = await readRegistry(ports.registry)
    const [hosts, records, active] = await Promise.all([
      compute.describeHosts(),
      newestRecords(ports.store),
      readRoles(
        ports.store,
        registry.map(({ id }) => id),
      ),
    ])
    await tofu.init()
    const state = machinesInState(await tofu.state())
    const inputs = planInputs(state, new Set(), { kind: 'none' })
    // A changed prefix is a difference: only unregistered machines keep their own.
    for (const { id } of registry) delete inputs.kept[id]
    const plan = await tofu.plan({
      file: ports.planFile,
      ami: hosts[0]?.ami ?? NO_AMI,
      ...inputs,
      requestId: null,
      adopt: NO_ADOPTION,
      replace: null,
    })
    const found = findDrift({ registry, hosts, active, state, planned: plannedChanges(plan), records })
    say(found.length === 0 ? 'nothing differs' : `${found.length} differ`)
    return found
  })
  const issueUrl = ports.issues ? await keepIssue(ports.issues, differences) : null
  await ports.report.summary(differences.length > 0 ? renderDrift(differences) : 'The fleet is as declared.')
  await ports.report.output('drift', String(differences.length))
  if (differences.length === 0) return { differences, issueUrl }
  const drift: Drift = { differences, issueUrl }
  throw new ClawctlError('DRIFT', `The fleet differs from what is declared in ${count(differences.length)}.`, {
    details: differences.map((difference) => `${driftLine(difference)} ${difference.fix}`),
    hint: 'Run the command beside each difference. If a difference is intended, change the registry or the stack.',
    partial: { drift },
  })
}

const count = (number: number) => (number === 1 ? 'one place' : `${number} places`)

/** One issue: opened at the first difference, updated when the differences change, closed when there are none. */
async function keepIssue(issues: Issues, differences: readonly Difference[]): Promise<string | null> {
  const own = (await issues.open(DRIFT_LABEL)).filter(({ body }) => body.includes(DRIFT_ISSUE_TAG))
  const [issue, ...spare] = own.sort((a, b) => a.number - b.number)
  // Two concurrent runs may have opened two issues.
  for (const { number } of spare) await issues.close(number, `Duplicate of #${issue?.number}.`)
  if (differences.length === 0) {
    if (issue) await issues.close(issue.number, 'There is no difference any more.')
    return issue?.url ?? null
  }
  const body = renderDrift(differences)
  if (!issue) return (await issues.create({ title: DRIFT_TITLE, body, label: DRIFT_LABEL })).url
  if (issue.body !== body) await issues.update(issue.number, body)
  return issue.url
}
