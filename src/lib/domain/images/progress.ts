const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** "1.8 GiB" */
export function sizeText(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10))
  const value = bytes / 1024 ** power
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`
}

/** "42% of 1.0 GiB, 180 MiB/s, 12 s left"; only the share until there is a rate. `done` and `total` in bytes. */
export function progressText(done: number, total: number, elapsedMs: number): string {
  const share = `${total === 0 ? 100 : Math.floor((done / total) * 100)}% of ${sizeText(total)}`
  if (elapsedMs < 1000 || done === 0) return share
  const rate = done / (elapsedMs / 1000)
  return `${share}, ${sizeText(rate)}/s, ${secondsText((total - done) / rate)} left`
}

function secondsText(seconds: number): string {
  const whole = Math.ceil(seconds)
  if (whole < 100) return `${whole} s`
  return whole < 6000 ? `${Math.ceil(whole / 60)} min` : `${Math.ceil(whole / 3600)} h`
}

/** More than a line a second would fill a CI log. */
const EVERY_MS = 1000

/** Passes on at most one text per second, the first after one second. */
export function everySecond(clock: { now(): Date }, update: (text: string) => void): (text: () => string) => void {
  let last = clock.now().getTime()
  return (text) => {
    const now = clock.now().getTime()
    if (now - last < EVERY_MS) return
    last = now
    update(text())
  }
}
