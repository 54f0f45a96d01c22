import { fromEnv } from '@aws-sdk/credential-provider-env'

/** Stands for the whole chain in the Lambda's bundle. */
export const defaultProvider = () => fromEnv()
