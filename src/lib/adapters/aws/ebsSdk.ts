import './quiet.js'

// Named re-exports: see ec2Sdk.ts.
export { CompleteSnapshotCommand, EBSClient, PutSnapshotBlockCommand, StartSnapshotCommand } from '@aws-sdk/client-ebs'
