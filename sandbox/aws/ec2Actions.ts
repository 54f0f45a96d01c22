import type { Faults } from '../faults.js'
import { deregisterImage, describeImages, registerImage } from './ec2Images.js'
import { describeImportSnapshotTasks, importSnapshot } from './ec2Imports.js'
import {
  describeInstanceStatus,
  describeInstances,
  getConsoleOutput,
  runInstances,
  startInstances,
  stopInstances,
  terminateInstances,
} from './ec2Instances.js'
import type { Query } from './ec2Query.js'
import {
  authorize,
  createSecurityGroup,
  deleteSecurityGroup,
  describeSecurityGroups,
  describeSubnets,
  revoke,
} from './ec2SecurityGroups.js'
import { deleteSnapshot, describeSnapshots, getEbsEncryptionByDefault } from './ec2Snapshots.js'
import { createTags, deleteTags } from './ec2Tags.js'
import type { World } from './world.js'
import type { XmlValue } from './xml.js'

type Action = (
  world: World,
  query: Query,
  faults: Faults,
) => Promise<Record<string, XmlValue>> | Record<string, XmlValue>

export const EC2_ACTIONS: Record<string, Action> = {
  DescribeInstances: describeInstances,
  DescribeInstanceStatus: describeInstanceStatus,
  RunInstances: runInstances,
  StartInstances: startInstances,
  StopInstances: stopInstances,
  TerminateInstances: terminateInstances,
  GetConsoleOutput: getConsoleOutput,
  DescribeImages: describeImages,
  RegisterImage: registerImage,
  DeregisterImage: deregisterImage,
  ImportSnapshot: importSnapshot,
  DescribeImportSnapshotTasks: describeImportSnapshotTasks,
  DescribeSnapshots: describeSnapshots,
  DeleteSnapshot: deleteSnapshot,
  GetEbsEncryptionByDefault: getEbsEncryptionByDefault,
  CreateSecurityGroup: createSecurityGroup,
  DescribeSecurityGroups: describeSecurityGroups,
  AuthorizeSecurityGroupEgress: authorize('egress'),
  AuthorizeSecurityGroupIngress: authorize('ingress'),
  RevokeSecurityGroupEgress: revoke('egress'),
  RevokeSecurityGroupIngress: revoke('ingress'),
  DeleteSecurityGroup: deleteSecurityGroup,
  DescribeSubnets: describeSubnets,
  CreateTags: createTags,
  DeleteTags: deleteTags,
}
