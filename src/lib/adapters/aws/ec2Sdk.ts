import './quiet.js'

// Named re-exports: `await import()` of the package itself would defeat tree-shaking and load all of EC2.
export {
  CreateTagsCommand,
  DeleteSnapshotCommand,
  DeregisterImageCommand,
  DescribeImagesCommand,
  DescribeImportSnapshotTasksCommand,
  DescribeSnapshotsCommand,
  EC2Client,
  GetConsoleOutputCommand,
  ImportSnapshotCommand,
  paginateDescribeImages,
  paginateDescribeImportSnapshotTasks,
  paginateDescribeInstanceStatus,
  paginateDescribeInstances,
  paginateDescribeSnapshots,
  RegisterImageCommand,
} from '@aws-sdk/client-ec2'
