import { BLOCK_BYTES, type BlockMap, digestAt, equal } from './blocks.js'
import type { ImageInfo } from './build.js'
import { sizeText } from './progress.js'

/** An image, compared with the previous one. */
export interface ImageReport {
  ami: string | null
  name: string
  revision: string | null
  logicalBytes: number
  /** Bytes of blocks with data. */
  dataBytes: number
  previous: {
    ami: string
    revision: string | null
    dataBytes: number | null
    /** Bytes of blocks that differ from the previous image; null if a manifest is missing. */
    changedBytes: number | null
  } | null
  /** Bytes that a direct import sent. */
  sentBytes: number | null
  seconds: { build: number | null; import: number | null; boot: number | null }
}

/** Bytes of the blocks of `now` that `before` does not have at their place. */
export function changedBytes(now: BlockMap, before: BlockMap): number {
  const known = new Map(Array.from(before.indexes, (index, position) => [index, position]))
  let changed = 0
  now.indexes.forEach((index, position) => {
    const at = known.get(index)
    if (at === undefined || !equal(digestAt(now, position), digestAt(before, at))) changed += 1
  })
  return changed * BLOCK_BYTES
}

const dataBytesOf = (map: BlockMap) => map.indexes.length * BLOCK_BYTES

export function imageReport(
  info: Pick<ImageInfo, 'name' | 'revision' | 'logicalBytes' | 'allocatedBytes'>,
  about: {
    ami: string | null
    map: BlockMap | null
    previous: { ami: string; revision: string | null; map: BlockMap | null } | null
  } & Pick<ImageReport, 'seconds' | 'sentBytes'>,
): ImageReport {
  const { map, previous, ami, seconds, sentBytes } = about
  return {
    ami,
    name: info.name,
    revision: info.revision,
    logicalBytes: info.logicalBytes,
    dataBytes: map ? dataBytesOf(map) : info.allocatedBytes,
    previous: previous && {
      ami: previous.ami,
      revision: previous.revision,
      dataBytes: previous.map && dataBytesOf(previous.map),
      changedBytes: map && previous.map && changedBytes(map, previous.map),
    },
    sentBytes,
    seconds,
  }
}

/** For the step summary of the workflow's run, and for people. */
export function reportMarkdown(report: ImageReport): string {
  const { previous, seconds, sentBytes, dataBytes } = report
  const revision = (of: string | null) => (of === null ? 'no commit' : of.slice(0, 12))
  const rows: [string, string][] = [
    ['AMI', report.ami ?? 'none'],
    ['Revision', revision(report.revision)],
    ['Size', `${sizeText(report.logicalBytes)}, ${sizeText(dataBytes)} of them data`],
  ]
  if (previous) {
    rows.push(['Previous', `${previous.ami} of ${revision(previous.revision)}`])
    if (previous.dataBytes !== null) rows.push(['Data relative to previous', ratio(dataBytes, previous.dataBytes)])
    if (previous.changedBytes !== null) {
      rows.push([
        'Changed',
        `${sizeText(previous.changedBytes)}, ${ratio(previous.changedBytes, dataBytes)} of the data`,
      ])
    }
  }
  if (sentBytes !== null) rows.push(['Sent', `${sizeText(sentBytes)}, ${ratio(sentBytes, dataBytes)} of the data`])
  for (const [what, value] of [
    ['Built in', seconds.build],
    ['Imported in', seconds.import],
    ['Booted in', seconds.boot],
  ] as const) {
    if (value !== null) rows.push([what, `${Math.round(value)} s`])
  }
  return [`### Image ${report.name}`, '', '| | |', '| --- | --- |', ...rows.map(([a, b]) => `| ${a} | ${b} |`)].join(
    '\n',
  )
}

/** "97%" */
function ratio(part: number, whole: number): string {
  return whole === 0 ? '–' : `${Math.round((part / whole) * 100)}%`
}
