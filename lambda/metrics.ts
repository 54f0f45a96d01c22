/**
 * CloudWatch's embedded metric format: CloudWatch turns a log line with `_aws` into metrics. The names are those of
 * infra/opentofu/aws/platform/alarms.tf, and a test compares both.
 */
export const NAMESPACE = 'Clawctl'

/** Each metric with its dimension, or null. */
export const METRICS = {
  Requests: null,
  Refusals: 'Code',
  UpstreamFailures: 'Service',
  DispatchFailures: null,
  SecretsAgeSeconds: null,
  SecretsUnreadable: null,
  DeployOutcomes: 'Outcome',
  HeartbeatMissing: 'Instance',
} as const
export type Metric = keyof typeof METRICS

export interface Measure {
  metric: Metric
  value: number
  /** Value of the metric's dimension. */
  of?: string
}

/**
 * Fields that add these metrics to a log line.
 * @param measures no two of one dimension
 */
export function embedded(measures: readonly Measure[], now: number): Record<string, unknown> {
  const measured = measures.filter(({ value }) => Number.isFinite(value))
  if (measured.length === 0) return {}
  const groups = new Map<string | null, Metric[]>()
  for (const { metric } of measured) groups.set(METRICS[metric], [...(groups.get(METRICS[metric]) ?? []), metric])
  const CloudWatchMetrics = [...groups].map(([dimension, metrics]) => ({
    Namespace: NAMESPACE,
    Dimensions: [dimension === null ? [] : [dimension]],
    Metrics: metrics.map((Name) => ({ Name, Unit: Name === 'SecretsAgeSeconds' ? 'Seconds' : 'Count' })),
  }))
  const values = measured.flatMap(({ metric, value, of }) => {
    const dimension = METRICS[metric]
    return [[metric, value] as const, ...(dimension === null ? [] : [[dimension, of ?? 'unknown'] as const])]
  })
  return { _aws: { Timestamp: now, CloudWatchMetrics }, ...Object.fromEntries(values) }
}

/** One line for each measure, because they share a dimension. */
export const metricLines = (measures: readonly Measure[], now: number): string[] =>
  measures.map((measure) => JSON.stringify(embedded([measure], now)))
