import { ClawctlError } from '../domain/errors.js'

/** Whether a question can be asked. */
export const hasTerminal = () => Boolean(process.stdin.isTTY && process.stderr.isTTY)

/** Asks on the terminal; the default is no. @throws ClawctlError USAGE without a terminal, CANCELLED */
export async function confirmOnTerminal(question: string): Promise<boolean> {
  if (!hasTerminal()) {
    throw new ClawctlError('USAGE', `Confirmation needs a terminal: ${question}`, {
      hint: 'Pass --yes to go on without it.',
    })
  }
  const { default: confirm } = await import('@inquirer/confirm')
  return answered(confirm({ message: question, default: false }, { output: process.stderr }))
}

/** Asks for a line. @throws ClawctlError USAGE without a terminal, CANCELLED */
export async function askText(question: string, preset: string): Promise<string> {
  if (!hasTerminal()) {
    throw new ClawctlError('USAGE', `This needs a terminal: ${question}`, {
      hint: 'Give --control-api-url and --name; the token comes from standard input.',
    })
  }
  const { default: input } = await import('@inquirer/input')
  return answered(input({ message: question, default: preset }, { output: process.stderr }))
}

/** Asks for a secret without showing it; without a terminal it is read from standard input. */
export async function askSecret(question: string): Promise<string> {
  if (!process.stdin.isTTY) {
    let text = ''
    for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk
    return text.trim()
  }
  const { default: password } = await import('@inquirer/password')
  return answered(password({ message: question, mask: '*' }, { output: process.stderr }))
}

async function answered<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    throw new ClawctlError('CANCELLED', 'Nothing was changed.', { cause })
  }
}
