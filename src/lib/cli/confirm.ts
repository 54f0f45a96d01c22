import { ClawctlError } from '../domain/errors.js'

/** Asks on the terminal; the answer is no unless it is said. @throws ClawctlError USAGE where there is no terminal, CANCELLED */
export async function confirmOnTerminal(question: string): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new ClawctlError('USAGE', `Nobody is there to be asked: ${question}`, {
      hint: 'Look with --dry-run, then say --yes.',
    })
  }
  const { default: confirm } = await import('@inquirer/confirm')
  try {
    return await confirm({ message: question, default: false }, { output: process.stderr })
  } catch (cause) {
    throw new ClawctlError('CANCELLED', 'Nothing was changed.', { cause })
  }
}
