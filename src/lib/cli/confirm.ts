import { ClawctlError } from '../domain/errors.js'

/** Asks on the terminal; the default answer is no. @throws ClawctlError USAGE without a terminal, CANCELLED */
export async function confirmOnTerminal(question: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new ClawctlError('USAGE', `Confirmation needs a terminal: ${question}`, {
      hint: 'Check with --dry-run, then pass --yes.',
    })
  }
  const { default: confirm } = await import('@inquirer/confirm')
  try {
    return await confirm({ message: question, default: false }, { output: process.stderr })
  } catch (cause) {
    throw new ClawctlError('CANCELLED', 'Nothing was changed.', { cause })
  }
}
