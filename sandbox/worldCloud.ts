import { runInstances } from './aws/ec2Instances.js'
import { Query } from './aws/ec2Query.js'
import { authorize, createSecurityGroup, deleteSecurityGroup, revoke } from './aws/ec2SecurityGroups.js'
import type { Instance, Rule, World } from './aws/world.js'
import type { Cloud, LiveInstance, NewInstance } from './tofu/awsPorts.js'

/** The sandbox's AWS without HTTP. With a `launchTime`, its instances run since then and do not boot. */
export function worldCloud(world: World, launchTime: Date | null): Cloud {
  const query = (values: Record<string, string>) => new Query(new URLSearchParams(values).toString())
  return {
    region: world.region,
    iam: world.iam,
    ec2: {
      async describe(ids) {
        return ids.flatMap((id) => {
          const instance = world.instances.get(id)
          return instance && instance.state !== 'terminated' ? [toLive(world, instance)] : []
        })
      },
      async run(wanted) {
        runInstances(world, query(launchQuery(wanted)))
        const instance = [...world.instances.values()].at(-1) as Instance
        if (launchTime) Object.assign(instance, { state: 'running', checks: 'ok', launchTime })
        return toLive(world, instance)
      },
      async terminate(id) {
        world.terminate(id)
      },
      async tag(id, tags, removed) {
        const found = world.instances.get(id) ?? world.securityGroups.get(id)
        for (const key of removed) found?.tags.delete(key)
        for (const [key, value] of Object.entries(tags)) found?.tags.set(key, value)
      },
      async createGroup({ name, description, vpcId, tags }) {
        const { groupId } = createSecurityGroup(
          world,
          query({
            ...{ GroupName: name, GroupDescription: description, ...(vpcId === null ? {} : { VpcId: vpcId }) },
            ...tagQuery('security-group', tags),
          }),
        )
        return groupId
      },
      async describeGroup(id) {
        const group = world.securityGroups.get(id)
        return group ? { ...group, tags: Object.fromEntries(group.tags) } : null
      },
      async authorize(id, direction, rules) {
        authorize(direction)(world, query(ruleQuery(id, rules)))
      },
      async revoke(id, direction, rules) {
        revoke(direction)(world, query(ruleQuery(id, rules)))
      },
      async deleteGroup(id) {
        deleteSecurityGroup(world, query({ GroupId: id }))
      },
    },
  }
}

function tagQuery(kind: string, tags: Readonly<Record<string, string>>): Record<string, string> {
  const pairs = Object.entries(tags).flatMap(([key, value], index) => [
    [`TagSpecification.1.Tag.${index + 1}.Key`, key],
    [`TagSpecification.1.Tag.${index + 1}.Value`, value],
  ])
  return { 'TagSpecification.1.ResourceType': kind, ...Object.fromEntries(pairs) }
}

function launchQuery(wanted: NewInstance): Record<string, string> {
  const { userData, profile, subnetId, metadata, rootVolume } = wanted
  const values = {
    ...{ ImageId: wanted.ami, InstanceType: wanted.instanceType, MinCount: 1, MaxCount: 1 },
    UserData: userData === null ? undefined : Buffer.from(userData).toString('base64'),
    'IamInstanceProfile.Name': profile ?? undefined,
    SubnetId: subnetId ?? undefined,
    'MetadataOptions.HttpEndpoint': metadata.endpoint,
    'MetadataOptions.HttpTokens': metadata.tokens,
    'MetadataOptions.HttpPutResponseHopLimit': metadata.hops,
    'BlockDeviceMapping.1.DeviceName': rootVolume ? '/dev/xvda' : undefined,
    'BlockDeviceMapping.1.Ebs.Encrypted': rootVolume?.encrypted,
    'BlockDeviceMapping.1.Ebs.VolumeType': rootVolume?.type,
    'BlockDeviceMapping.1.Ebs.VolumeSize': rootVolume?.size,
    'BlockDeviceMapping.1.Ebs.DeleteOnTermination': rootVolume?.deleteOnTermination,
    ...Object.fromEntries(wanted.securityGroups.map((id, index) => [`SecurityGroupId.${index + 1}`, id])),
    ...tagQuery('instance', wanted.tags),
  }
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  )
}

function ruleQuery(id: string, rules: readonly Rule[]): Record<string, string> {
  const pairs = rules.flatMap(({ protocol, from, to, cidr }, index) => {
    const at = `IpPermissions.${index + 1}`
    const range = cidr.includes(':') ? `${at}.Ipv6Ranges.1.CidrIpv6` : `${at}.IpRanges.1.CidrIp`
    return [
      [`${at}.IpProtocol`, protocol],
      ...(from === null ? [] : [[`${at}.FromPort`, String(from)]]),
      ...(to === null ? [] : [[`${at}.ToPort`, String(to)]]),
      [range, cidr],
    ]
  })
  return { GroupId: id, ...Object.fromEntries(pairs) }
}

function toLive(world: World, instance: Instance): LiveInstance {
  return {
    id: instance.id,
    state: instance.state,
    ami: instance.imageId,
    instanceType: instance.instanceType,
    privateIp: instance.privateIp,
    publicIp: instance.publicIp,
    zone: `${world.region}a`,
    subnetId: instance.subnetId,
    securityGroups: [...instance.securityGroups],
    profile: instance.profile,
    metadata: instance.metadata,
    tags: Object.fromEntries(instance.tags),
  }
}
