import type { Image } from '@aws-sdk/client-ec2'
import {
  CreateTagsCommand,
  DeregisterImageCommand,
  DescribeImagesCommand,
  EC2Client,
  paginateDescribeImages,
  RegisterImageCommand,
} from '@aws-sdk/client-ec2'
import type { Images, RegisteredImage } from '../../ops/images/ports.js'
import { type AwsSettings, always, awsCall, clientOptions, NO_SUCH_IMAGE, unlessNamed } from '../aws/errors.js'
import { filtersOf, tagListOf, tagSpecification, tagsOf } from '../aws/tags.js'

/** Root device of NixOS's amazon image. */
const ROOT_DEVICE = '/dev/xvda'

/** The account's own AMIs. */
export function createImages(settings: AwsSettings): Images {
  const client = new EC2Client(clientOptions(settings))
  return {
    describe: (id) =>
      awsCall('EC2 DescribeImages', () =>
        unlessNamed(NO_SUCH_IMAGE, null, async () => {
          const { Images } = await client.send(new DescribeImagesCommand({ ImageIds: [id] }))
          return Images?.[0] ? toImage(Images[0]) : null
        }),
      ),
    find: (by) =>
      awsCall('EC2 DescribeImages', async () => {
        const Filters = 'name' in by ? [{ Name: 'name', Values: [by.name] }] : filtersOf(by.tags)
        const found: RegisteredImage[] = []
        for await (const page of paginateDescribeImages({ client, pageSize: 1000 }, { Owners: ['self'], Filters })) {
          found.push(...always(page.Images).map(toImage))
        }
        return found
      }),
    register: ({ name, description, snapshotId, architecture, bootMode, tags }) =>
      awsCall('EC2 RegisterImage', async () => {
        const { ImageId } = await client.send(
          new RegisterImageCommand({
            Name: name,
            Description: description,
            Architecture: architecture,
            BootMode: bootMode,
            VirtualizationType: 'hvm',
            EnaSupport: true,
            // A permanent property of the image: its instances never answer IMDSv1.
            ImdsSupport: 'v2.0',
            RootDeviceName: ROOT_DEVICE,
            BlockDeviceMappings: [
              {
                DeviceName: ROOT_DEVICE,
                Ebs: { SnapshotId: snapshotId, VolumeType: 'gp3', DeleteOnTermination: true },
              },
            ],
            TagSpecifications: tagSpecification('image', tags),
          }),
        )
        return always(ImageId)
      }),
    tag: (id, tags) =>
      awsCall('EC2 CreateTags', async () => {
        await client.send(new CreateTagsCommand({ Resources: [id], Tags: tagListOf(tags) }))
      }),
    deregister: (id) =>
      awsCall('EC2 DeregisterImage', async () => {
        await client.send(new DeregisterImageCommand({ ImageId: id }))
      }),
  }
}

function toImage(image: Image): RegisteredImage {
  const root = image.BlockDeviceMappings?.find((device) => device.DeviceName === image.RootDeviceName)?.Ebs
  return {
    id: image.ImageId ?? '',
    name: image.Name ?? image.ImageId ?? '',
    state: image.State ?? 'pending',
    stateReason: image.StateReason?.Message ?? null,
    createdAt: image.CreationDate ?? '',
    snapshotId: root?.SnapshotId ?? null,
    sizeGib: root?.VolumeSize ?? null,
    tags: tagsOf(image.Tags),
  }
}
