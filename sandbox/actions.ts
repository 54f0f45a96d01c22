import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import type { ActionContext, ActionTable } from './github/actions.js'

/** Replaces a packed clawctl: only its bytes are compared. */
const PACKED = 'the clawctl that runs the sandbox'

/** Stand-ins for artifacts of single files, kept by run, and for the actions that pass clawctl from one job to the next. */
export function clawctlStandIns(bin: string): ActionTable {
  const artifacts = new Map<string, { file: string; bytes: Buffer }>()
  const key = ({ env, with: { name = 'artifact' } }: ActionContext) => `${env.GITHUB_RUN_ID} ${name}`
  return {
    'actions/upload-artifact': async (context) => {
      const path = resolve(context.workspace, context.with.path ?? '')
      const bytes = await readFile(path).catch(() => null)
      if (!bytes) return { ok: false, message: `No files were found with the provided path: ${path}.` }
      if (artifacts.has(key(context))) return { ok: false, message: 'An artifact of this name exists already.' }
      artifacts.set(key(context), { file: basename(path), bytes })
      context.log(`Artifact ${context.with.name} has been successfully uploaded! ${bytes.length} bytes.`)
      return { ok: true }
    },
    'actions/download-artifact': async (context) => {
      const artifact = artifacts.get(key(context))
      if (!artifact) return { ok: false, message: `Artifact not found for name: ${context.with.name}` }
      const folder = resolve(context.workspace, context.with.path ?? '.')
      await mkdir(folder, { recursive: true })
      await writeFile(join(folder, artifact.file), artifact.bytes)
      context.log(`downloaded ${artifact.bytes.length} bytes`)
      return { ok: true }
    },
    './.github/actions/build-clawctl': async ({ env, setOutput, log }) => {
      const file = join(env.RUNNER_TEMP ?? '', 'clawctl.tgz')
      await writeFile(file, PACKED)
      setOutput('file', file)
      setOutput('digest', createHash('sha256').update(PACKED).digest('hex'))
      log('the clawctl that runs the sandbox, instead of a build of the checkout')
      return { ok: true }
    },
    './.github/actions/setup-clawctl': async ({ addPath, log, with: { file = '', digest } }) => {
      const bytes = await readFile(file).catch(() => null)
      const found = bytes && createHash('sha256').update(bytes).digest('hex')
      if (found !== digest) return { ok: false, message: `${file} is not the clawctl that was built.` }
      addPath(bin)
      log('the clawctl that runs the sandbox')
      return { ok: true }
    },
  }
}

/**
 * Stand-ins for the actions that the workflows use. On GitHub they download programs, which the sandbox has already.
 */
export function actionStandIns(plane: {
  copyCheckout(folder: string): Promise<void>
  /** Region and credentials that the role would give. */
  credentials: Readonly<Record<string, string>>
  /** Folder with `tofu`. */
  toolBin: string
  tofuTitle: string
  /** Folder with `clawctl`. */
  bin: string
}): ActionTable {
  return {
    'actions/checkout': async ({ workspace, log }) => {
      await plane.copyCheckout(workspace)
      log('copied the working tree, which replaces the branch')
      return { ok: true }
    },
    'aws-actions/configure-aws-credentials': async (context) => {
      const role = context.with['role-to-assume']
      if (!role || !context.with['aws-region']) {
        return { ok: false, message: 'Could not load credentials: role-to-assume and aws-region are needed.' }
      }
      for (const [name, value] of Object.entries(plane.credentials)) context.setEnv(name, value)
      context.addMask(plane.credentials.AWS_SECRET_ACCESS_KEY ?? '')
      context.log(`assumed ${role} in the sandbox`)
      return { ok: true }
    },
    'opentofu/setup-opentofu': async ({ addPath, log }) => {
      addPath(plane.toolBin)
      log(plane.tofuTitle)
      return { ok: true }
    },
    'cachix/install-nix-action': async ({ log }) => {
      log('uses the nix of this machine, if installed')
      return { ok: true }
    },
    ...clawctlStandIns(plane.bin),
  }
}
