import * as z from 'zod/mini'
import { ClawctlError } from '../src/lib/domain/errors.js'
import { DEPLOY_WORKFLOW } from '../src/lib/domain/paths.js'

/** The function's environment. `AWS_REGION` is set by Lambda itself. A test holds this against the OpenTofu stack. */
export const configurationSchema = z.object({
  CONTROL_API_TOKEN: z.string().check(z.minLength(1)),
  CONTROL_API_TOKEN_PREVIOUS: z.optional(z.string()),
  GITHUB_TOKEN: z.string().check(z.minLength(1)),
  GITHUB_REPO: z._default(z.string().check(z.regex(/^[A-Za-z0-9_.-]+\/[A-Za-z0-9_.-]+$/)), 'openclaw/clawdinators'),
  GITHUB_WORKFLOW: z._default(z.string().check(z.regex(/^[A-Za-z0-9_.-]+\.ya?ml$/)), DEPLOY_WORKFLOW),
  GITHUB_REF: z._default(z.string().check(z.minLength(1)), 'main'),
  GITHUB_API_URL: z._default(z.url(), 'https://api.github.com'),
  /** Object of the bucket with the secrets among these variables: lambda/secrets.ts. */
  CONTROL_API_SECRETS_KEY: z.optional(z.string()),
  /** Heartbeats and the deploys' records; without it health and hosts are unknown. */
  S3_BUCKET: z.optional(z.string()),
  AWS_REGION: z.string().check(z.minLength(1)),
})
export type Configuration = z.infer<typeof configurationSchema>

/** @throws ClawctlError NOT_CONFIGURED naming the variables, never their values */
export function readConfiguration(env: Readonly<Record<string, string | undefined>>): Configuration {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''))
  const parsed = configurationSchema.safeParse(set)
  if (parsed.success) return parsed.data
  const names = [...new Set(parsed.error.issues.map((issue) => String(issue.path[0])))]
  throw new ClawctlError(
    'NOT_CONFIGURED',
    `The Control API is not configured: ${names.join(', ')} is missing or malformed.`,
    {
      hint: "Set it in the function's environment, through the platform stack.",
    },
  )
}
