import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClawctlError } from '../../domain/errors.js'
import { IMAGE_INFO_NAME } from '../../domain/images/info.js'
import type { BuildPorts } from '../../ops/images/buildImage.js'

export const outputFolder: BuildPorts['output'] = {
  prepare: (folder) =>
    writing(folder, async () => {
      await mkdir(folder, { recursive: true })
      await rm(join(folder, IMAGE_INFO_NAME), { force: true })
    }),
  commit: (folder, text) =>
    writing(folder, async () => {
      const temporary = join(folder, `.${IMAGE_INFO_NAME}.${process.pid}`)
      await writeFile(temporary, text)
      await rename(temporary, join(folder, IMAGE_INFO_NAME))
    }),
}

async function writing(folder: string, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new ClawctlError('BUILD_FAILED', `${folder} can't be written (${code}).`, {
      hint: code === 'ENOSPC' ? 'Free some space.' : 'Give another folder with --out.',
      cause,
    })
  }
}
