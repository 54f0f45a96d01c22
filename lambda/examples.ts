import type { Check, Deploy, Fleet, Freeze, HostView, OrderRequest } from '../src/lib/domain/contract/index.js'
import type { RouteExample } from './routes.js'

/** Examples in the contract's document; a test parses each with the schemas of its route. */

const REQUEST_ID = '7d9b0c5e-3f52-4a53-9d7a-0c1f6b6d2a11'
const RUN_URL = 'https://github.com/openclaw/clawdinators/actions/runs/20000000001'
const AMI = 'ami-0123456789abcdef0'

const request: OrderRequest = {
  target: 'clawdinator-2',
  caller: 'clawdinator-1',
  requestedBy: 'Jo',
  requestId: REQUEST_ID,
}

const queued: Deploy = {
  requestId: REQUEST_ID,
  target: 'clawdinator-2',
  amiOverride: null,
  caller: 'clawdinator-1',
  requestedBy: 'Jo',
  identity: 'host verified, person claimed',
  ami: null,
  status: 'queued',
  waitsFor: null,
  queuePosition: 1,
  runId: 20000000001,
  runUrl: RUN_URL,
  createdAt: '2026-11-20T10:00:00Z',
  startedAt: null,
  finishedAt: null,
  durationMs: null,
  hosts: [],
  error: null,
}

const succeeded: Deploy = {
  ...queued,
  ami: AMI,
  status: 'succeeded',
  queuePosition: null,
  startedAt: '2026-11-20T10:00:04Z',
  finishedAt: '2026-11-20T10:06:31Z',
  durationMs: 387000,
  hosts: [
    {
      id: 'clawdinator-2',
      outcome: 'replaced',
      ami: AMI,
      previousAmi: 'ami-0fedcba9876543210',
      instanceId: 'i-0123456789abcdef0',
    },
  ],
}

const fleetNow: Fleet = {
  latestAmi: { id: AMI, name: 'clawdinator-3f1c0a', createdAt: '2026-11-19T08:00:00.000Z' },
  instances: [
    {
      id: 'clawdinator-1',
      state: 'running',
      instanceId: 'i-0123456789abcdef1',
      ami: AMI,
      amiStatus: 'latest',
      instanceType: 't3.large',
      publicIp: '203.0.113.7',
      launchedAt: '2026-11-19T09:12:40.000Z',
      health: 'healthy',
      revision: '3f1c0a',
    },
  ],
}

export const createDeploy: readonly RouteExample[] = [
  {
    title: 'A person requests a deploy in the chat of clawdinator-1',
    path: '/v1/deploys',
    body: request,
    answer: { status: 202, body: { ok: true, deploy: queued } },
  },
  {
    title: 'A bot requests a deploy of its own host',
    path: '/v1/deploys',
    body: { target: 'clawdinator-1', caller: 'clawdinator-1' },
    answer: {
      status: 403,
      body: {
        ok: false,
        error: {
          code: 'SELF_DEPLOY',
          message: 'clawdinator-1 may not deploy itself: it would be destroyed before it could report the outcome.',
          hint: 'Request it from another instance, or from a laptop.',
        },
      },
    },
  },
]

export const cancelDeploy: readonly RouteExample[] = [
  {
    title: 'Cancel a queued deploy',
    path: `/v1/deploys/${REQUEST_ID}/cancel`,
    body: { requestedBy: 'Jo' },
    answer: { status: 202, body: { ok: true, deploy: queued } },
  },
]

const frozen: Freeze = {
  target: 'all',
  reason: 'Discord is down',
  caller: null,
  requestedBy: 'Jo',
  identity: 'person verified',
  at: '2026-11-20T10:00:00Z',
  until: '2026-11-20T12:00:00Z',
}

export const freeze: readonly RouteExample[] = [
  {
    title: 'Freeze the fleet for two hours',
    path: '/v1/freezes',
    body: { target: 'all', reason: frozen.reason, forSeconds: 7200, requestedBy: 'Jo', code: '123456' },
    answer: { status: 200, body: { ok: true, freezes: [frozen] } },
  },
]

export const unfreeze: readonly RouteExample[] = [
  {
    title: 'End the freeze of the fleet',
    path: '/v1/unfreezes',
    body: { target: 'all', requestedBy: 'Jo', code: '123456' },
    answer: { status: 200, body: { ok: true, freezes: [] } },
  },
]

export const listDeploys: readonly RouteExample[] = [
  {
    title: 'The newest deploy',
    path: '/v1/deploys?limit=1',
    answer: { status: 200, body: { ok: true, deploys: [succeeded] } },
  },
]

export const getDeploy: readonly RouteExample[] = [
  {
    title: 'A deploy that is over',
    path: `/v1/deploys/${REQUEST_ID}`,
    answer: {
      status: 200,
      body: {
        ok: true,
        deploy: {
          ...succeeded,
          steps: [{ job: 'deploy', name: 'Deploy', status: 'completed', conclusion: 'success' }],
        },
      },
    },
  },
]

export const fleet: readonly RouteExample[] = [
  { title: 'The fleet', path: '/v1/fleet', answer: { status: 200, body: { ok: true, fleet: fleetNow } } },
]

const AGO = '2026-11-19T09:13:05.000Z'
const hostNow: HostView = {
  id: 'clawdinator-1',
  registered: true,
  active: { instanceId: 'i-0123456789abcdef1', deploy: REQUEST_ID, at: AGO },
  machines: [
    {
      instanceId: 'i-0123456789abcdef1',
      slot: 'a',
      role: 'serving',
      state: 'running',
      instanceType: 't3.large',
      publicIp: '203.0.113.7',
      launchedAt: '2026-11-19T09:12:40.000Z',
      requestId: REQUEST_ID,
      ami: { id: AMI, name: 'clawdinator-3f1c0a', createdAt: '2026-11-19T08:00:00.000Z', failedIn: null },
      health: 'healthy',
      reason: 'running, checks passed, gateway connected',
      heartbeatAt: '2026-11-20T10:00:00.000Z',
      stage: 'active',
      stages: [
        { stage: 'booted', at: AGO },
        { stage: 'active', at: '2026-11-19T09:15:20.000Z' },
      ],
      failure: null,
      gateway: {
        ...{ state: 'active', mainPid: 812, restarts: 0, activeSince: '2026-11-19T09:15:20.000Z' },
        ...{ channels: [{ name: 'discord', connected: true, reason: null }], plugins: [] },
        probedAt: '2026-11-20T10:00:00.000Z',
      },
      revision: '3f1c0a',
      imageRevision: '3f1c0a',
      bundleGeneration: 3,
      selfUpdate: null,
      console: [],
    },
  ],
  deploys: [],
}

export const host: readonly RouteExample[] = [
  {
    title: 'A healthy host',
    path: '/v1/fleet/clawdinator-1',
    answer: { status: 200, body: { ok: true, host: hostNow } },
  },
]

const checks: Check[] = [
  {
    id: 'github-token',
    title: 'The GitHub credential works',
    status: 'pass',
    evidence: 'A GitHub App installation that reads openclaw/clawdinators.',
    fix: null,
  },
  {
    id: 'latest-ami',
    title: 'There is an image to deploy',
    status: 'fail',
    evidence: 'No available AMI is tagged clawdinator=true.',
    fix: 'Build and import an image.',
  },
]

export const preflight: readonly RouteExample[] = [
  {
    title: 'One check failed',
    path: '/v1/preflight',
    answer: { status: 200, body: { ok: true, preflight: { checks } } },
  },
]
