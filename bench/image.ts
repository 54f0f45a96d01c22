import { spawn, spawnSync } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EBSClient, PutSnapshotBlockCommand, StartSnapshotCommand } from '@aws-sdk/client-ebs'

/**
 * Image uploads and imports against the sandbox in a separate process, as ratios of one run. It has no pass or fail:
 *  npm run bench:image [RUNS] [SCALE] [direct] An image of 8 GiB × SCALE with 1.8 GiB × SCALE of pseudo-random data;
 * medians of RUNS (3). `direct` leaves out S3, whose time is mostly that of the sandbox's disk. For comparison it
 * also runs, if they are in PATH, coldsnap (`cargo install coldsnap`) and aws (`pip install awscli`).
 */
const SELF = fileURLToPath(import.meta.url)
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const BIN = join(ROOT, 'bin/run.js')
const MIB = 1024 ** 2
const BLOCK = MIB / 2
/** One of this many blocks with data is changed. */
const CHANGED_EVERY = 20
const WORKERS = 64

const [mode = '3', ...rest] = process.argv.slice(2)
if (mode === 'inside') await measure(Number(rest[0]), Number(rest[1]), rest[2] === 'direct')
else if (mode === 'sdk') await sdkLoop(rest[0] ?? '')
else {
  const inside = [process.execPath, '--import', 'tsx', SELF, 'inside', mode, rest[0] ?? '1', rest[1] ?? '']
  const { status } = spawnSync(process.execPath, [BIN, 'sandbox', 'run', '--as', 'ci', '--', ...inside], {
    stdio: 'inherit',
    cwd: ROOT,
  })
  process.exitCode = status ?? 1
}

interface Run {
  seconds: number
  /** Peak of the resident memory, in MiB. */
  peak: number
  // biome-ignore lint/suspicious/noExplicitAny: a command's result
  result: any
}

async function measure(runs: number, scale: number, direct: boolean): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'clawctl-bench-image-'))
  const bucket = process.env.S3_BUCKET ?? ''
  const clawctl = (...args: string[]) => timed([process.execPath, BIN, 'image', ...args, '--json'], folder)
  try {
    const rows = new Map<string, Run[]>()
    const add = async (name: string, run: Promise<Run>) => rows.set(name, [...(rows.get(name) ?? []), await run])
    const hasColdsnap = spawnSync('coldsnap', ['--help']).status === 0
    const hasAws = spawnSync('aws', ['--version']).status === 0
    for (let run = 0; run < runs; run += 1) {
      // A new seed each time, because existing blocks are not sent again.
      const [image, changed] = [join(folder, `image${run}.raw`), join(folder, `changed${run}.raw`)]
      const blocks = writeImage(image, scale, run)
      spawnSync('cp', ['--sparse=always', image, changed])
      changeImage(changed, blocks)
      if (hasColdsnap) {
        const { AWS_ENDPOINT_URL_EBS: endpoint = '', AWS_REGION: region = '' } = process.env
        const upload = ['coldsnap', '--endpoint', endpoint, '--region', region, 'upload', '--no-progress']
        await add('coldsnap', timed([...upload, image], folder))
        await add('coldsnap, no zeros', timed([...upload, '--omit-zero-blocks', image], folder))
      }
      await add('SDK loop, 64 workers', timed([process.execPath, '--import', 'tsx', SELF, 'sdk', image], folder))
      await add('--direct, full', clawctl('import', '--direct', '--full', image))
      await add('--direct, 5% changed', clawctl('import', '--direct', changed))
      await add('--direct, again', clawctl('import', '--direct', changed))
      if (!direct) {
        if (hasAws) {
          await add('aws s3 cp', timed(['aws', 's3', 'cp', '--quiet', image, `s3://${bucket}/copy.raw`], folder))
          spawnSync('aws', ['s3', 'rm', '--quiet', `s3://${bucket}/copy.raw`])
        }
        await add('upload', clawctl('upload', image))
      }
      for (const path of [image, changed]) rmSync(path)
    }
    report(rows, runs)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function report(rows: ReadonlyMap<string, Run[]>, runs: number): void {
  const seconds = (name: string) => median((rows.get(name) ?? []).map((run) => run.seconds))
  const say = (text: string) => process.stdout.write(`${text}\n`)
  say(`node ${process.version}, ${runs} runs, medians`)
  for (const [name, all] of rows) {
    const peak = Math.max(...all.map((run) => run.peak))
    say(`${name.padEnd(22)} ${seconds(name).toFixed(1).padStart(6)} s  peak ${peak.toFixed(0).padStart(4)} MiB`)
  }
  const blocks = rows.get('--direct, 5% changed')?.at(-1)?.result.import.blocks
  const again = rows.get('--direct, again')?.at(-1)?.result.import
  say(
    `full, rate over that of the SDK loop:   ${(seconds('SDK loop, 64 workers') / seconds('--direct, full')).toFixed(2)}x`,
  )
  for (const name of ['coldsnap', 'coldsnap, no zeros']) {
    if (!rows.has(name)) continue
    say(`full, ${`rate over that of ${name}:`.padEnd(33)} ${(seconds(name) / seconds('--direct, full')).toFixed(2)}x`)
  }
  say(
    `5% changed, time over that of the full: ${(seconds('--direct, 5% changed') / seconds('--direct, full')).toFixed(2)}x`,
  )
  say(
    `5% changed, blocks sent:                ${blocks.sent} of ${blocks.data} (${((100 * blocks.sent) / blocks.data).toFixed(1)}%)`,
  )
  say(`again, bytes sent:                      ${again.bytesSent}`)
  if (rows.has('aws s3 cp')) {
    say(`upload, rate over that of aws s3 cp:    ${(seconds('aws s3 cp') / seconds('upload')).toFixed(2)}x`)
  }
  const uploaded = rows.get('upload')?.at(-1)?.result.upload
  if (uploaded) say(`upload, bytes sent:                     ${uploaded.bytesSent} of ${uploaded.bytes}`)
}

/** Runs a program to its end; its peak memory is the last value that the kernel reported. */
function timed(argv: readonly string[], folder: string): Promise<Run> {
  const [program = '', ...args] = argv
  const started = process.hrtime.bigint()
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { ...process.env, XDG_STATE_HOME: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  let peak = 0
  child.stdout.on('data', (chunk) => {
    text += chunk
  })
  const look = setInterval(() => {
    try {
      const [, kib] = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? []
      peak = Math.max(peak, Number(kib ?? 0) / 1024)
    } catch {
      // It has ended, or this is no Linux.
    }
  }, 20)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      clearInterval(look)
      const seconds = Number(process.hrtime.bigint() - started) / 1e9
      if (code === 0) resolve({ seconds, peak, result: text.startsWith('{') ? JSON.parse(text) : null })
      else reject(new Error(`${argv.join(' ')} ended with ${code}: ${text}`))
    })
  })
}

/** Writes data in extents with holes between them, like a file system. Returns the blocks with data. */
function writeImage(path: string, scale: number, seed: number): number[] {
  const [size, data] = [Math.round(8192 * scale), Math.round(1800 * scale)]
  const random = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16, seed))
  const zeros = Buffer.alloc(MIB)
  const bootSector = Buffer.alloc(512)
  bootSector.write('boot code')
  bootSector.writeUInt16LE(0xaa55, 510)
  const fd = openSync(path, 'w')
  ftruncateSync(fd, size * MIB)
  const blocks: number[] = []
  for (let run = 0, at = 0; run < data; run += 9) {
    for (let i = run; i < Math.min(run + 9, data); i += 1, at += 1) {
      writeSync(fd, random.update(zeros), 0, MIB, at * MIB)
      blocks.push(at * 2, at * 2 + 1)
    }
    at = Math.floor(((run + 9) / data) * size)
    at = Math.min(at, size - (data - run - 9))
  }
  writeSync(fd, bootSector, 0, 512, 0)
  closeSync(fd)
  return blocks
}

function changeImage(path: string, blocks: readonly number[]): void {
  const fd = openSync(path, 'r+')
  for (let i = 0; i < blocks.length; i += CHANGED_EVERY) {
    writeSync(fd, createHash('sha256').update(String(i)).digest(), 0, 32, (blocks[i] ?? 0) * BLOCK + 4096)
  }
  closeSync(fd)
}

/** The simplest solution, for comparison: reads every block, and sends those with data by the SDK, 64 at a time. */
async function sdkLoop(path: string): Promise<void> {
  const client = new EBSClient({ region: process.env.AWS_REGION ?? '' })
  const fd = openSync(path, 'r')
  const size = Number(spawnSync('stat', ['-c', '%s', path]).stdout)
  const { SnapshotId } = await client.send(new StartSnapshotCommand({ VolumeSize: Math.ceil(size / 1024 ** 3) }))
  let next = 0
  const zero = Buffer.alloc(BLOCK)
  const worker = async () => {
    const block = Buffer.alloc(BLOCK)
    while (next * BLOCK < size) {
      const index = next++
      readSync(fd, block, 0, BLOCK, index * BLOCK)
      if (block.equals(zero)) continue
      const Checksum = createHash('sha256').update(block).digest('base64')
      const common = { SnapshotId, BlockIndex: index, DataLength: BLOCK, ChecksumAlgorithm: 'SHA256' as const }
      await client.send(new PutSnapshotBlockCommand({ ...common, BlockData: block, Checksum }))
    }
  }
  await Promise.all(Array.from({ length: WORKERS }, worker))
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
