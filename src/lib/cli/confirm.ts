import { ClawctlError } from '../domain/errors.js'

/** Whether a question can be asked. */
export const hasTerminal = () => Boolean(process.stdin.isTTY && process.stderr.isTTY)

/** Asks on the terminal; the default is no. @throws ClawctlError USAGE where there is no terminal, CANCELLED */
export async function confirmOnTerminal(question: string): Promise<boolean> {
  if (!hasTerminal()) {
    throw new ClawctlError('USAGE', `Confirmation needs a terminal: ${question}`, {
      hint: 'Pass --yes to go on without it.',
    })
  }
  const { default: confirm } = await import('@inquirer/confirm')
  try {
    return await confirm({ message: question, default: false }, { output: process.stderr })
  } catch (cause) {
    throw new ClawctlError('CANCELLED', 'Nothing was changed.', { cause })
  }
}
