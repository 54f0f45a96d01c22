import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, delimiter, join } from 'node:path'
import { createTofu } from '../../src/lib/adapters/deploy/tofu.js'
import { heartbeatKey } from '../../src/lib/domain/bundles/manifest.js'
import { parseActive } from '../../src/lib/domain/deploy/active.js'
import type { Host } from '../../src/lib/domain/deploy/host.js'
import type { Registry } from '../../src/lib/domain/registry/registry.js'
import { fakeDirectPlane } from './fakeDirectPlane.js'
import { heartbeatOf, hostOf } from './fakes.js'

/** The path of the real program, where one is in PATH: in a sandbox's PATH the stand-in comes first. */
export const REAL = (process.env.PATH ?? '')
  .split(delimiter)
  .flatMap((folder) => ['tofu', 'terraform'].map((program) => join(folder, program)))
  .sort((a, b) => Number(basename(a) !== 'tofu') - Number(basename(b) !== 'tofu'))
  .find((program) => !spawnSync(program, ['version']).error)

/** The fleet stack's shape without a provider: the same variables, keys, names and lifecycle. */
const STACK = `
terraform {
  backend "local" {}
}
variable "ami_id" {
  type = string
}
variable "instance_ids" {
  type = set(string)
}
variable "kept_prefixes" {
  type    = map(string)
  default = {}
}
variable "slots" {
  type    = map(set(string))
  default = {}
}
variable "adopt" {}
variable "request_id" {}
locals {
  slots = merge([for id in var.instance_ids : {
    for slot in lookup(var.slots, id, toset(["a"])) : (slot == "a" ? id : "\${id}/\${slot}") => id
  }]...)
}
variable "template" {
  type    = string
  default = "first"
}
variable "pause" {
  type    = string
  default = "0"
}
resource "terraform_data" "role" {
  for_each = var.instance_ids
  provisioner "local-exec" {
    command = "sleep \${var.pause}"
  }
}
resource "terraform_data" "clawdinator" {
  for_each         = local.slots
  input            = var.ami_id
  triggers_replace = [var.ami_id, var.template]
  depends_on       = [terraform_data.role]
  lifecycle {
    ignore_changes = all
  }
}
`

/** Gives terraform_data the fleet's types, in what is asked of the program and in the JSON that it prints. */
const SHIM = `
const { spawn } = require('node:child_process')
const [program, ...args] = process.argv.slice(2)
const shown = args.includes('-json') || args.includes('pull')
const given = args.map((arg) => arg.replace('aws_instance.', 'terraform_data.'))
const child = spawn(program, given, { stdio: ['ignore', shown ? 'pipe' : 'inherit', 'inherit'] })
let text = ''
child.stdout?.on('data', (part) => (text += part))
process.on('SIGINT', () => child.kill('SIGINT'))
const rename = (resource) => {
  const type = resource.name === 'role' ? 'aws_iam_role' : 'aws_instance'
  const address = resource.address?.replace('terraform_data', type).replace('.role[', '.clawdinator[')
  return { ...resource, type, ...(address ? { address } : {}) }
}
/** What the guard reads of the fleet's own resources. */
const content = (change) => {
  const [id, slot = 'a'] = String(change.index).split('/')
  const trust = { Statement: [{ Effect: 'Allow', Action: 'sts:AssumeRole', Principal: { Service: 'ec2.amazonaws.com' } }] }
  const after = change.change.after && { ...change.change.after, tags: { 'clawdinator:id': id, 'clawdinator:slot': slot }, assume_role_policy: JSON.stringify(trust) }
  return { ...change, change: { ...change.change, after } }
}
child.on('close', (code) => {
  if (shown) {
    const json = text.trim() ? JSON.parse(text) : null
    if (json?.resource_changes) json.resource_changes = json.resource_changes.map(rename).map(content)
    if (json?.resources) json.resources = json.resources.map(rename)
    if (json) process.stdout.write(JSON.stringify({ ...json, configuration: undefined }))
  }
  process.exitCode = code ?? 1
})
`

/** A direct plane whose OpenTofu is the real one, over a stack of builtin resources; EC2 is what its state says. */
export function realPlane(registry: Registry) {
  const folder = mkdtempSync(join(tmpdir(), 'clawctl-real-stack-'))
  const stateFile = join(folder, 'state.json')
  const shim = join(folder, 'tofu')
  writeFileSync(join(folder, 'main.tf'), STACK)
  writeFileSync(join(folder, 'shim.cjs'), SHIM)
  writeFileSync(shim, `#!/bin/sh\nexec '${process.execPath}' '${join(folder, 'shim.cjs')}' '${REAL}' "$@"\n`, {
    mode: 0o755,
  })
  const plane = fakeDirectPlane(registry, [])
  const tofu = (vars: Record<string, string> = {}) =>
    createTofu({
      binary: shim,
      dir: folder,
      env: { NODE_OPTIONS: '' },
      backendConfig: { path: stateFile },
      vars,
    })
  const bad = new Set<string>()
  let clock = 0
  const compute = {
    findImage: plane.cloud.findImage.bind(plane.cloud),
    fleetImages: plane.cloud.fleetImages.bind(plane.cloud),
    console: async () => '',
    describeHosts: async () => hostsIn(stateFile),
    describeHost: async (instanceId: string) =>
      hostsIn(stateFile).find((host) => host.instanceId === instanceId) ?? ('terminated' as const),
  }
  const machines = {
    start: async () => {},
    stop: async () => {},
    terminate: async () => {},
    dryRun: async () => null,
    markFailed: async () => {},
  }
  // The hosts react immediately.
  plane.clock.ticks.push(() => {
    const at = plane.clock.now().toISOString()
    for (const host of hostsIn(stateFile)) {
      if (bad.has(host.ami)) continue
      const active = parseActive(plane.store.objects.get(`active/${host.id}.json`)?.text ?? '')
      const mayAct = active === null || active.instanceId === host.instanceId
      const stage = mayAct ? 'active' : active?.from === host.instanceId ? 'yielded' : 'standby'
      plane.store.set(heartbeatKey(host.id, host.instanceId), heartbeatOf(host, { stage, at }))
    }
  })
  return {
    ...plane,
    folder,
    stateFile,
    tofu,
    /** Images whose hosts never get healthy. */
    bad,
    ports: (vars?: Record<string, string>) => ({
      ...plane.ports,
      compute,
      machines,
      tofu: tofu(vars),
      planFile: (id: string) => join(folder, `${id}-${++clock}.tfplan`),
    }),
    /** id → AMI. */
    running: () => Object.fromEntries(hostsIn(stateFile).map(({ id, ami }) => [id, ami])),
    /** id → EC2 instance id. */
    instances: () => Object.fromEntries(hostsIn(stateFile).map(({ id, instanceId }) => [id, instanceId])),
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}

interface StateFile {
  resources: {
    name: string
    instances: { index_key: string; attributes: { id: string; input: { value: string } } }[]
  }[]
}

function hostsIn(file: string): Host[] {
  let state: StateFile
  try {
    state = JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return []
  }
  const instances = state.resources
    .filter(({ name }) => name === 'clawdinator')
    .flatMap((resource) => resource.instances)
  return instances.map(({ index_key, attributes }) => {
    const ami = typeof attributes.input === 'string' ? attributes.input : attributes.input.value
    const [id = '', slot] = index_key.split('/')
    return hostOf(id, { instanceId: attributes.id, ami, slot: slot === 'b' ? 'b' : 'a' })
  })
}
