import type { ActionTable } from './github/actions.js'

/**
 * Stand-ins for the actions that the workflows use. On GitHub they download things; here everything is already
 * there.
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
      log('copied the working tree, which stands for the branch')
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
    './.github/actions/setup-clawctl': async ({ addPath, log }) => {
      addPath(plane.bin)
      log('uses the clawctl that runs the sandbox, instead of a build of the checkout')
      return { ok: true }
    },
  }
}
