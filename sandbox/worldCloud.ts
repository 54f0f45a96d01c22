import { Query } from './aws/ec2Query.js'
import { authorize, createSecurityGroup, deleteSecurityGroup, revoke } from './aws/ec2SecurityGroups.js'
import type { Instance, Rule, World } from './aws/world.js'
import type { Cloud, LiveInstance } from './tofu/awsPorts.js'

/** The sandbox's AWS without the wire, for what was there before it started: instances that run since `launchTime`. */
export function worldCloud(world: World, launchTime: Date): Cloud {
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
      async run({ ami, instanceType, userData, tags, subnetId, metadata, rootVolume, profile, securityGroups }) {
        const instance = world.launch({
          ...{ imageId: ami, instanceType, state: 'running', launchTime, profile },
          userData: userData === null ? null : Buffer.from(userData).toString('base64'),
          tags: Object.entries(tags),
          securityGroups: [...securityGroups],
          ...(subnetId === null ? {} : { subnetId }),
          metadata: defined(metadata),
          rootVolume: defined(rootVolume ?? {}),
        })
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
        const specification = Object.entries(tags).flatMap(([key, value], index) => [
          [`TagSpecification.1.Tag.${index + 1}.Key`, key],
          [`TagSpecification.1.Tag.${index + 1}.Value`, value],
        ])
        const { groupId } = createSecurityGroup(
          world,
          query({
            ...{ GroupName: name, GroupDescription: description, ...(vpcId === null ? {} : { VpcId: vpcId }) },
            'TagSpecification.1.ResourceType': 'security-group',
            ...Object.fromEntries(specification),
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

function defined<T extends object>(values: T): never {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never
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
