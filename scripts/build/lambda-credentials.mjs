import { fromEnv } from '@aws-sdk/credential-provider-env'

/** Replaces the chain of credential providers in the Lambda's bundle. */
export const defaultProvider = () => fromEnv()
