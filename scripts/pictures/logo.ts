/** The logo: a crab whose left half is living shell and whose right half shows the metal below. */

type Point = readonly [x: number, y: number]

const SIZE = { width: 320, height: 240 }
const MIDDLE = SIZE.width / 2

const at = (points: readonly Point[]) => points.map(([x, y]) => `${x},${y}`).join(' ')
const mirrored = (points: readonly Point[]): Point[] => points.map(([x, y]) => [SIZE.width - x, y])

/** A leg from the body outwards: hip, knee, foot. */
const LEGS: readonly (readonly Point[])[] = [
  [
    [98, 150],
    [58, 146],
    [34, 178],
  ],
  [
    [102, 166],
    [66, 172],
    [50, 206],
  ],
  [
    [112, 180],
    [84, 196],
    [78, 226],
  ],
]
const ARM: readonly Point[] = [
  [104, 122],
  [66, 108],
  [56, 74],
]
/** Both fingers of the claw, open upwards. */
const CLAW =
  'M56 78 C30 70 20 44 34 22 C40 12 52 8 60 12 C50 22 50 34 56 42 C62 34 70 28 82 30 C90 44 84 68 70 78 C66 81 60 81 56 78 Z'
const EYE_STALK: readonly Point[] = [
  [136, 104],
  [130, 78],
]

function half(kind: 'shell' | 'metal'): string {
  const place = kind === 'shell' ? (points: readonly Point[]) => points : mirrored
  const width = kind === 'shell' ? 13 : 8
  const line = (points: readonly Point[]) =>
    `<polyline points="${at(place(points))}" fill="none" stroke="url(#${kind})" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round"/>`
  const joints = [...LEGS, ARM].flatMap((points) => place(points.slice(0, 2)))
  const bolts = joints.map(
    ([x, y]) => `<circle cx="${x}" cy="${y}" r="5.5" fill="#2f3742" stroke="#aeb9c7" stroke-width="2.5"/>`,
  )
  const claw =
    kind === 'shell'
      ? `<path d="${CLAW}" fill="url(#shell)"/>`
      : `<path d="${CLAW}" fill="url(#metal)" transform="matrix(-1 0 0 1 ${SIZE.width} 0)"/>`
  return [...[...LEGS, ARM, EYE_STALK].map(line), claw, ...(kind === 'metal' ? bolts : [])].join('\n  ')
}

/** Ribs and rivets of the uncovered half. */
function endoskeleton(): string {
  const ribs = [118, 138, 158, 178].map((y, index) => {
    const reach = [58, 66, 62, 48][index] ?? 0
    return `<path d="M${MIDDLE + 6} ${y} q${reach / 2} 8 ${reach} -2" fill="none" stroke="#5a6675" stroke-width="5" stroke-linecap="round"/>`
  })
  const rivets = [112, 132, 152, 172, 192].map((y) => `<circle cx="${MIDDLE + 7}" cy="${y}" r="2.6" fill="#dfe6ee"/>`)
  return [...ribs, ...rivets].join('\n  ')
}

/** @returns the whole file */
export function logo(): string {
  const body = `M${MIDDLE} 96 C110 94 80 116 82 150 C84 184 118 206 ${MIDDLE} 206`
  const crack = `M${MIDDLE} 94 l-5 14 l8 12 l-9 16 l10 14 l-8 18 l7 14 l-4 26`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SIZE.width} ${SIZE.height}" role="img" aria-label="CLAWDINATOR: a crab, half living shell, half metal">
  <title>CLAWDINATOR</title>
  <defs>
    <linearGradient id="shell" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="#ff7a59"/><stop offset="1" stop-color="#b42318"/></linearGradient>
    <linearGradient id="metal" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="#dfe6ee"/><stop offset="1" stop-color="#7b8794"/></linearGradient>
    <radialGradient id="glow"><stop offset="0" stop-color="#ffd0c8"/><stop offset=".35" stop-color="#ff3b30"/><stop offset="1" stop-color="#ff3b30" stop-opacity="0"/></radialGradient>
  </defs>
  ${half('shell')}
  ${half('metal')}
  <path d="${body} Z" fill="url(#shell)"/>
  <path d="${body} Z" fill="#3a434f" stroke="url(#metal)" stroke-width="5" transform="matrix(-1 0 0 1 ${SIZE.width} 0)"/>
  ${endoskeleton()}
  <path d="${crack}" fill="none" stroke="#7a1610" stroke-width="4" stroke-linejoin="round"/>
  <circle cx="130" cy="74" r="11" fill="#1f2328"/><circle cx="127" cy="71" r="3.5" fill="#ffffff"/>
  <circle cx="190" cy="74" r="22" fill="url(#glow)"/><circle cx="190" cy="74" r="10" fill="#2f3742" stroke="#aeb9c7" stroke-width="3"/><circle cx="190" cy="74" r="4.5" fill="#ff3b30"/>
  <path d="M122 176 q20 16 38 14" fill="none" stroke="#7a1610" stroke-width="5" stroke-linecap="round"/>
</svg>
`
}
