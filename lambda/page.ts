import { createHash } from 'node:crypto'
import { UNREAD_SOURCES } from '../src/lib/domain/contract/fleet.js'
import { UNREAD_DEPLOYS } from '../src/lib/domain/deploy/run.js'

/**
 * The page for a phone, `GET /`. It shows fleet, hosts, deploys and preflight through the API, with a token that the
 * person types once. It is static, stores no data, loads no other file, and changes nothing.
 */

const STYLE = `
:root{color-scheme:light dark;--bg:#fff;--fg:#1f2328;--dim:#59636e;--line:#d1d9e0;--card:#f6f8fa;--ok:#1a7f37;--bad:#cf222e;--warn:#9a6700;--link:#0969da}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--dim:#9198a1;--line:#3d444d;--card:#151b23;--ok:#3fb950;--bad:#f85149;--warn:#d29922;--link:#4493f8}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:46rem;padding:.75rem;background:var(--bg);color:var(--fg);font:16px/1.45 system-ui,sans-serif;overflow-wrap:anywhere}
header{display:flex;align-items:center;gap:.5rem;flex-wrap:wrap}
h1{font-size:1.15rem;margin:.25rem 0;flex:1}
h2{font-size:1.05rem;margin:1rem 0 .5rem}
nav{display:flex;gap:.25rem;border-bottom:1px solid var(--line);margin-bottom:.75rem;overflow-x:auto}
button,input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:.4rem;padding:.5rem .75rem;min-height:2.75rem}
nav button{flex:1 0 auto;padding:.5rem .4rem;white-space:nowrap;border:0;border-bottom:3px solid transparent;border-radius:0;background:none}
nav button[aria-current]{border-bottom-color:var(--link)}
form{display:grid;gap:.5rem}
.card{display:block;width:100%;text-align:left;background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .75rem;margin:0 0 .5rem}
.row{display:flex;justify-content:space-between;gap:.5rem;flex-wrap:wrap}
.dim{color:var(--dim);font-size:.9rem}
.ok{color:var(--ok)}.bad{color:var(--bad)}.warn{color:var(--warn)}
pre{white-space:pre-wrap;font-size:.8rem;background:var(--card);border:1px solid var(--line);border-radius:.4rem;padding:.5rem;margin:.5rem 0;max-height:22rem;overflow:auto}
ol{margin:.25rem 0;padding-left:1.4rem}
[hidden]{display:none}
`

const SCRIPT = `
'use strict'
const KEY = 'clawctl-token'
const UNREAD = ${JSON.stringify({ ...UNREAD_SOURCES, ...UNREAD_DEPLOYS })}
const view = document.getElementById('view')
const note = document.getElementById('note')
const tabs = [...document.querySelectorAll('nav button:not(#sign-out)')]
let shown = 0
let timer = 0

function el(tag, attributes, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === 'onclick') node.onclick = value
    else if (value !== null && value !== undefined) node.setAttribute(name, value)
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ''))
  return node
}

async function ask(path) {
  const abort = AbortSignal.timeout(35000)
  const answer = await fetch(path, {
    headers: { authorization: 'Bearer ' + (sessionStorage.getItem(KEY) || '') },
    credentials: 'omit', cache: 'no-store', redirect: 'error', signal: abort,
  })
  const body = await answer.json().catch(() => null)
  if (answer.status === 401) { sessionStorage.removeItem(KEY); render() }
  if (body && body.ok) return body
  const error = body && body.error
  throw new Error(error ? error.message + (error.hint ? ' ' + error.hint : '') : 'The Control API answered ' + answer.status + '.')
}

const GOOD = new Set(['healthy', 'running', 'succeeded', 'pass', 'active', 'created', 'replaced', 'latest'])
const BAD = new Set(['unhealthy', 'missing', 'failed', 'fail', 'rolled-back', 'orphan', 'timed-out'])
const tone = (word) => (GOOD.has(word) ? 'ok' : BAD.has(word) ? 'bad' : 'warn')
const mark = (word) => el('span', { class: tone(word) }, word)
function age(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000
  if (!Number.isFinite(seconds)) return ''
  if (seconds < 90) return Math.max(0, Math.round(seconds)) + ' s ago'
  if (seconds < 5400) return Math.round(seconds / 60) + ' min ago'
  return seconds < 172800 ? Math.round(seconds / 3600) + ' h ago' : Math.round(seconds / 86400) + ' d ago'
}
const dim = (text) => (text ? el('div', { class: 'dim' }, text) : null)
const line = (tone, text) => el('p', { class: tone }, text)
function unread(sources) {
  const lines = Object.entries(sources || {}).filter((one) => one[1] === 'unavailable').map(([name]) => line('warn', UNREAD[name] || name))
  return lines.length ? [...lines, dim('For the reason see Preflight.')] : []
}
function frozen(one) {
  const by = (one.requestedBy || 'a person') + (one.identity.includes('person verified') ? ' (verified)' : ' (claimed)')
  const until = one.until ? 'until ' + one.until.slice(0, 16).replace('T', ' ') + ' UTC' : 'until a person ends it'
  return line('warn', (one.target === 'all' ? 'The fleet' : one.target) + ' is frozen by ' + by + (one.caller ? ' via ' + one.caller : '') + ' ' + until + ': ' + one.reason)
}

const views = {
  async fleet() {
    const { fleet } = await ask('/v1/fleet')
    const latest = fleet.latestAmi
    const failed = fleet.failedAmi
    const noImages = fleet.sources && fleet.sources.images === 'unavailable'
    return [
      ...unread(fleet.sources),
      ...(fleet.freezes || []).map(frozen),
      ...fleet.instances.map((one) =>
        el('button', { class: 'card', onclick: () => open('host', one.id) },
          el('div', { class: 'row' }, el('strong', {}, one.id), el('span', {}, mark(one.state), ' ', mark(one.health))),
          dim(one.reason),
          dim([one.ami, one.amiStatus, one.stage, one.launchedAt && 'up ' + age(one.launchedAt)].filter(Boolean).join(' · ')),
          one.beside ? dim(one.beside.role + ' ' + one.beside.instanceId + ': ' + one.beside.reason) : null)),
      fleet.deploying ? el('button', { class: 'card', onclick: () => open('deploy', fleet.deploying.requestId) }, 'Deploy of ' + fleet.deploying.target + ' is under way') : null,
      dim(latest ? 'Latest AMI: ' + latest.id + ' (' + latest.name + ')' : noImages ? 'Latest AMI: unknown' : 'There is no deployable AMI.'),
      failed ? line('bad', 'Newer AMI: ' + failed.id + ' (' + failed.name + ') failed in the deploy ' + failed.requestId) : null,
    ]
  },
  async host(id) {
    const { host } = await ask('/v1/fleet/' + encodeURIComponent(id))
    return [back('fleet', id), ...fields(host)]
  },
  async deploys() {
    const { deploys, sources } = await ask('/v1/deploys?limit=20')
    const gaps = unread(sources)
    if (deploys.length === 0) return gaps.length ? gaps : [dim('There is no deploy yet.')]
    return [...gaps, ...deploys.map((one) =>
      el('button', { class: 'card', onclick: () => open('deploy', one.requestId) },
        el('div', { class: 'row' }, el('strong', {}, one.target), mark(one.status)),
        dim([one.createdAt && age(one.createdAt), one.requestedBy || one.caller || 'unknown', one.ami].filter(Boolean).join(' · ')),
        one.error ? dim(one.error.message) : null))]
  },
  async deploy(id) {
    const { deploy, sources } = await ask('/v1/deploys/' + encodeURIComponent(id))
    const over = !['queued', 'running'].includes(deploy.status)
    if (!over) again(5000)
    return [
      back('deploys', deploy.target), ...unread(sources), el('p', {}, mark(deploy.status), ' ', deploy.ami || ''),
      deploy.error ? el('p', { class: 'bad' }, deploy.error.message) : null,
      ...deploy.hosts.map((one) => el('div', { class: 'card' },
        el('div', { class: 'row' }, el('strong', {}, one.id), mark(one.outcome)),
        one.step ? dim(one.step.name + (one.step.clause ? ': ' + one.step.clause : '') + ' · ' + age(one.step.since)) : null, dim(one.reason))),
      el('ol', {}, (deploy.steps || []).map((one) => el('li', {}, one.name + ': ', mark(one.conclusion || one.status)))),
      deploy.runUrl ? el('p', {}, el('a', { href: deploy.runUrl, rel: 'noreferrer' }, 'The run on GitHub')) : null,
    ]
  },
  async preflight() {
    const { preflight } = await ask('/v1/preflight')
    return preflight.checks.map((one) => el('div', { class: 'card' },
      el('div', { class: 'row' }, el('strong', {}, one.title), mark(one.status)), dim(one.evidence), dim(one.fix)))
  },
}

const back = (name, title) => el('div', { class: 'row' }, el('h2', {}, title), el('button', { onclick: () => open(name) }, 'Back'))

function fields(value, name) {
  if (value === null || value === undefined || value === '') return []
  if (Array.isArray(value)) {
    if (value.length === 0) return []
    if (value.every((one) => typeof one === 'string')) return [el('h2', {}, name || ''), el('pre', {}, value.join('\\n'))]
    return [el('h2', {}, name || ''), ...value.map((one) => el('div', { class: 'card' }, fields(one)))]
  }
  if (typeof value === 'object') {
    const inner = Object.entries(value).flatMap(([key, one]) => fields(one, key))
    return name ? [el('h2', {}, name), el('div', { class: 'card' }, inner)] : inner
  }
  const text = String(value)
  if (text.includes('\\n')) return [el('h2', {}, name || ''), el('pre', {}, text)]
  return [el('div', { class: 'row' }, el('span', { class: 'dim' }, name || ''), el('span', { class: GOOD.has(text) || BAD.has(text) ? tone(text) : '' }, text))]
}

let current = ['fleet']
function open(...next) { current = next; history.replaceState(null, '', '#' + next.map(encodeURIComponent).join('/')); render() }
function again(ms) { clearTimeout(timer); timer = setTimeout(render, ms) }

async function render() {
  clearTimeout(timer)
  const mine = ++shown
  const signedIn = Boolean(sessionStorage.getItem(KEY))
  document.getElementById('sign-in').hidden = signedIn
  document.getElementById('main').hidden = !signedIn
  if (!signedIn) { view.replaceChildren(); return }
  const [name, id] = current
  const tab = { host: 'fleet', deploy: 'deploys' }[name] || name
  for (const one of tabs) { if (one.value === tab) one.setAttribute('aria-current', 'page'); else one.removeAttribute('aria-current') }
  note.textContent = 'Loading…'
  try {
    again(30000)
    const nodes = await views[name](id)
    if (mine === shown) { view.replaceChildren(...nodes.filter(Boolean)); note.textContent = 'As of ' + new Date().toLocaleTimeString() }
  } catch (error) {
    if (mine === shown || !sessionStorage.getItem(KEY)) note.textContent = error.name === 'TimeoutError' ? 'The Control API did not answer in time.' : error.message
  }
}

document.getElementById('sign-in').onsubmit = (event) => {
  event.preventDefault()
  const field = document.getElementById('token')
  sessionStorage.setItem(KEY, field.value.trim())
  field.value = ''
  render()
}
document.getElementById('sign-out').onclick = () => { sessionStorage.removeItem(KEY); note.textContent = ''; render() }
for (const one of tabs) one.onclick = () => open(one.value)
const asked = location.hash.slice(1).split('/').map(decodeURIComponent)
if (Object.hasOwn(views, asked[0])) current = asked
render()
`

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex">
<title>clawctl</title>
<style>${STYLE}</style>
</head>
<body>
<header><h1>clawctl</h1></header>
<p id="note" class="dim" role="status"></p>
<form id="sign-in" hidden>
<label for="token">Control token; a read token is enough. It stays in this tab.</label>
<input id="token" type="password" autocomplete="off" autocapitalize="off" spellcheck="false" required>
<button>Show the fleet</button>
</form>
<div id="main" hidden>
<nav><button value="fleet">Fleet</button><button value="deploys">Deploys</button><button value="preflight">Preflight</button><button id="sign-out" value="">Sign out</button></nav>
<div id="view"></div>
</div>
<noscript>This page needs JavaScript. On a terminal: clawctl fleet status</noscript>
<script>${SCRIPT}</script>
</body>
</html>
`

const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** The answer to `GET /`: always the same bytes. Its policy allows no other script, file or frame. */
export const page = {
  body: PAGE,
  headers: {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-cache',
    'content-security-policy': [
      "default-src 'none'",
      `script-src ${hash(SCRIPT)}`,
      `style-src ${hash(STYLE)}`,
      "connect-src 'self'",
      "form-action 'none'",
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'strict-transport-security': 'max-age=31536000',
  },
} as const
