import './quiet.js'

// Named re-exports: `await import()` of the package itself would defeat tree-shaking and load all of EC2.
export {
  DescribeImagesCommand,
  EC2Client,
  paginateDescribeInstanceStatus,
  paginateDescribeInstances,
} from '@aws-sdk/client-ec2'
