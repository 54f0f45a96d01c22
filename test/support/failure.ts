import { ClawctlError } from '../../src/lib/domain/errors.js'

/** The ClawctlError that a promise rejects with, or that a function throws; anything else is thrown on. */
export async function failureOf(work: Promise<unknown> | (() => unknown)): Promise<ClawctlError> {
  try {
    await (typeof work === 'function' ? work() : work)
  } catch (error) {
    if (error instanceof ClawctlError) return error
    throw error
  }
  throw new Error('it did not fail')
}
