import { invalidValue, page, type Query, readFilters } from './ec2Query.js'
import { mustExist, tagSpecifications, tagsXml } from './ec2Resources.js'
import { AwsError } from './error.js'
import type { Rule, SecurityGroup, Subnet, World } from './world.js'
import type { XmlValue } from './xml.js'

/** CreateSecurityGroup, by default in the default VPC. Like EC2's, it allows all egress until that is revoked. */
export function createSecurityGroup(world: World, query: Query) {
  const name = query.require('GroupName')
  const description = query.require('GroupDescription')
  const vpcId = query.get('VpcId') ?? world.defaultVpcId
  const tags = tagSpecifications(query, 'security-group')
  query.refuseUnread()
  if (/^sg-/.test(name)) throw invalidValue('groupName', name, 'Group names may not be in the format sg-*.')
  if (vpcId !== world.defaultVpcId) {
    throw new AwsError('InvalidVpcID.NotFound', 400, `The vpc ID '${vpcId}' does not exist`)
  }
  if ([...world.securityGroups.values()].some((group) => group.name === name)) {
    throw new AwsError('InvalidGroup.Duplicate', 400, `The security group '${name}' already exists for VPC '${vpcId}'`)
  }
  const group: SecurityGroup = {
    id: world.newId('sg'),
    name,
    description,
    vpcId,
    ingress: [],
    egress: [{ protocol: '-1', from: null, to: null, cidr: '0.0.0.0/0' }],
    tags: new Map(tags),
  }
  world.securityGroups.set(group.id, group)
  return { return: true, groupId: group.id, tagSet: tagsXml(group.tags) }
}

/** DescribeSecurityGroups. */
export function describeSecurityGroups(world: World, query: Query) {
  const ids = query.list('GroupId')
  mustExist(world, 'security-group', ids)
  const matches = readFilters<SecurityGroup>(query, {
    'group-id': (group) => [group.id],
    'group-name': (group) => [group.name],
    'vpc-id': (group) => [group.vpcId],
  })
  const wanted = (group: SecurityGroup) => (ids.length === 0 || ids.includes(group.id)) && matches(group)
  const found = page(query, [...world.securityGroups.values()], wanted)
  query.refuseUnread()
  const item = found.items.map((group) => ({
    ownerId: world.accountId,
    groupId: group.id,
    groupName: group.name,
    groupDescription: group.description,
    vpcId: group.vpcId,
    ipPermissions: rulesXml(group.ingress),
    ipPermissionsEgress: rulesXml(group.egress),
    tagSet: tagsXml(group.tags),
  }))
  return { securityGroupInfo: { item }, nextToken: found.nextToken }
}

type Direction = 'ingress' | 'egress'

const sameRule = (a: Rule) => (b: Rule) =>
  a.protocol === b.protocol && a.from === b.from && a.to === b.to && a.cidr === b.cidr

function readRules(query: Query): Rule[] {
  return query.indexes('IpPermissions').flatMap((n) => {
    const at = `IpPermissions.${n}`
    const protocol = query.require(`${at}.IpProtocol`)
    const ports = [query.get(`${at}.FromPort`), query.get(`${at}.ToPort`)]
    // All protocols means all ports; given ports are ignored.
    const [from = null, to = null] =
      protocol === '-1' ? [] : ports.map((port) => (port === undefined ? null : Number(port)))
    const ranges = [
      ...query.indexes(`${at}.IpRanges`).map((m) => query.require(`${at}.IpRanges.${m}.CidrIp`)),
      ...query.indexes(`${at}.Ipv6Ranges`).map((m) => query.require(`${at}.Ipv6Ranges.${m}.CidrIpv6`)),
    ]
    return ranges.map((cidr) => ({ protocol, from, to, cidr }))
  })
}

function rulesXml(rules: readonly Rule[]): XmlValue {
  return {
    item: rules.map(({ protocol, from, to, cidr }) => ({
      ipProtocol: protocol,
      ...(from === null ? {} : { fromPort: from }),
      ...(to === null ? {} : { toPort: to }),
      ...(cidr.includes(':')
        ? { ipv6Ranges: { item: [{ cidrIpv6: cidr }] } }
        : { ipRanges: { item: [{ cidrIp: cidr }] } }),
    })),
  }
}

/** AuthorizeSecurityGroupIngress and -Egress. */
export function authorize(direction: Direction) {
  return (world: World, query: Query) => {
    const id = query.require('GroupId')
    const added = readRules(query)
    query.refuseUnread()
    mustExist(world, 'security-group', [id])
    const rules = world.securityGroups.get(id)?.[direction] ?? []
    const twice = added.find((rule) => rules.some(sameRule(rule)))
    if (twice) {
      const message = `the specified rule "peer: ${twice.cidr}, ${twice.protocol}, ALLOW" already exists`
      throw new AwsError('InvalidPermission.Duplicate', 400, message)
    }
    rules.push(...added)
    return { return: true }
  }
}

/** RevokeSecurityGroupIngress and -Egress. */
export function revoke(direction: Direction) {
  return (world: World, query: Query) => {
    const id = query.require('GroupId')
    const removed = readRules(query)
    query.refuseUnread()
    mustExist(world, 'security-group', [id])
    const group = world.securityGroups.get(id)
    if (!group || removed.length === 0 || removed.some((rule) => !group[direction].some(sameRule(rule)))) {
      throw new AwsError('InvalidPermission.NotFound', 400, 'The specified rule does not exist in this security group.')
    }
    group[direction] = group[direction].filter((rule) => !removed.some(sameRule(rule)))
    return { return: true }
  }
}

/** DeleteSecurityGroup: not while an instance that is not terminated is in it. */
export function deleteSecurityGroup(world: World, query: Query) {
  const id = query.require('GroupId')
  query.refuseUnread()
  mustExist(world, 'security-group', [id])
  const member = [...world.instances.values()].find(
    (instance) => instance.state !== 'terminated' && instance.securityGroups.includes(id),
  )
  if (member) throw new AwsError('DependencyViolation', 400, `resource ${id} has a dependent object`)
  world.securityGroups.delete(id)
  return { return: true, groupId: id }
}

/** DescribeSubnets. */
export function describeSubnets(world: World, query: Query) {
  const ids = query.list('SubnetId')
  mustExist(world, 'subnet', ids)
  const matches = readFilters<Subnet>(query, { 'vpc-id': (subnet) => [subnet.vpcId] })
  const wanted = (subnet: Subnet) => (ids.length === 0 || ids.includes(subnet.id)) && matches(subnet)
  const found = page(query, [...world.subnets.values()], wanted)
  query.refuseUnread()
  const item = found.items.map((subnet) => ({
    subnetId: subnet.id,
    vpcId: subnet.vpcId,
    state: 'available',
    availabilityZone: `${world.region}a`,
    defaultForAz: true,
    tagSet: tagsXml(subnet.tags),
  }))
  return { subnetSet: { item }, nextToken: found.nextToken }
}
