import { existsSync } from 'node:fs'
import { expect } from 'chai'
import { type Browser, chromium, type Page } from 'playwright-core'
import { createHandler } from '../../lambda/handler.js'
import { LATEST_AMI, registryOf, TestSandbox, temporaryFolder } from '../support/cli.js'

const PROGRAM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
/** A browser that sends no requests by itself. */
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-sync']
const TOKEN_FIELD = '#token'

describe('the page of the Control API', () => {
  const get = (path: string, method = 'GET') =>
    createHandler({}, () => {})({ rawPath: path, requestContext: { http: { method } } })

  it('is small, the same for every request, and allows no other script', async () => {
    const { statusCode, body, headers } = await get('/')
    expect(statusCode).to.equal(200)
    expect(body.length).to.be.lessThan(20_000)
    expect(headers['content-type']).to.equal('text/html; charset=utf-8')
    expect(headers['content-security-policy'])
      .to.match(
        /^default-src 'none'; script-src 'sha256-[\w+/]{43}='; style-src 'sha256-[\w+/]{43}='; connect-src 'self'/,
      )
      .and.not.include('unsafe')
    expect(await get('/')).to.deep.equal({ statusCode, body, headers })
    expect((await get('/', 'POST')).statusCode).to.equal(401)
  })

  it('has no form that changes anything, and loads only from its own origin', async () => {
    const { body } = await get('/')
    expect(body.match(/fetch\(/g)).to.have.length(1)
    expect(body).not.to.match(/method:|POST|innerHTML|localStorage|https?:\/\//)
  })

  describe('in a browser, as wide as a phone', () => {
    const files = temporaryFolder()
    let sandbox: TestSandbox
    let browser: Browser
    let page: Page
    const asked: string[] = []
    const problems: string[] = []
    before(async function () {
      if (!PROGRAM) {
        process.stdout.write('    there is no Chromium in /usr/bin: apt-get install chromium\n')
        this.skip()
      }
      const registry = await files.write('instances.json', registryOf(['a', 'b']))
      sandbox = await TestSandbox.start({ registry, running: ['a'] })
      browser = await chromium.launch({ executablePath: PROGRAM, args: ARGS })
      page = await browser.newPage({ viewport: { width: 360, height: 640 }, colorScheme: 'dark' })
      page.on('request', (request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`))
      page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
      page.on('pageerror', (error) => problems.push(String(error)))
      await page.goto(sandbox.inner.session.controlApiUrl)
    })
    after(async () => {
      await browser?.close()
      await sandbox?.close()
    })

    it('shows only the sign-in form to a visitor without a token', async () => {
      expect(await page.locator('body').innerText()).to.match(/^clawctl\s+Control token/)
      expect(asked.filter((line) => line.includes('/v1/'))).to.deep.equal([])
      await page.fill(TOKEN_FIELD, 'cct_wrong_0123456789')
      await page.click('text=Show the fleet')
      await page.waitForSelector('#note:has-text("token")')
      expect(await page.locator(TOKEN_FIELD).isVisible()).to.equal(true)
      expect(await page.locator('#view').innerText()).to.equal('')
      problems.length = 0
    })

    it("shows the fleet, a deploy and preflight with a token, within the screen's width", async () => {
      await page.fill(TOKEN_FIELD, sandbox.inner.session.controlToken)
      await page.click('text=Show the fleet')
      await page.waitForSelector('text=missing')
      expect(await page.locator('#view').innerText())
        .to.match(/a\s+running healthy/)
        .and.match(/b\s+missing/)
      await page.click('nav >> text=Preflight')
      await page.waitForSelector('.card >> text=pass')
      await page.click('nav >> text=Deploys')
      await page.waitForSelector('text=no deploy yet')
      const width = await page.evaluate('document.documentElement.scrollWidth')
      expect(width).to.be.at.most(360)
      expect(problems).to.deep.equal([])
      expect(asked.filter((line) => !line.startsWith('GET '))).to.deep.equal([])
      expect(page.url()).not.to.include(sandbox.inner.session.controlToken)
    })

    it('shows freezes, a failed AMI, and sources that could not be read', async () => {
      const bucket = sandbox.inner.session.ci.S3_BUCKET ?? ''
      const asked = {
        caller: 'a',
        requestedBy: 'Jo',
        identity: 'host verified, person claimed',
        at: '2026-11-01T00:00:00Z',
      }
      const freezes = [
        { target: 'all', reason: '<img src=x onerror=alert(1)> down', ...asked, until: null },
        { target: 'b', reason: 'look at it', ...asked, until: '2099-01-02T03:04:05.000Z' },
      ]
      sandbox.world.putObject(bucket, 'control/freeze.json', JSON.stringify({ schema: 1, freezes }))
      sandbox.world.images.get(LATEST_AMI)?.tags.set('clawdinator:failed', 'request-0009')
      await page.click('nav >> text=Fleet')
      await page.waitForSelector('text=is frozen by')
      expect(await page.locator('#view').innerText())
        .to.include(
          'The fleet is frozen by Jo (claimed) via a until a person ends it: <img src=x onerror=alert(1)> down',
        )
        .and.include('b is frozen by Jo (claimed) via a until 2099-01-02 03:04 UTC: look at it')
        .and.match(/Newer AMI: ami-0a1c1aad1e5000002 .* failed in the deploy request-0009/)
      expect(await page.locator('#view img').count()).to.equal(0)
      sandbox.world.putObject(bucket, 'control/freeze.json', '{}')
      await page.click('nav >> text=Deploys')
      await page.click('nav >> text=Fleet')
      await page.waitForSelector('text=The freezes could not be read')
      expect(await page.locator('#view').innerText()).to.include('For the reason see Preflight.')
      expect(problems).to.deep.equal([])
    })

    it('deletes the token at sign-out', async () => {
      await page.click('text=Sign out')
      await page.waitForSelector(TOKEN_FIELD)
      expect(await page.evaluate('sessionStorage.length')).to.equal(0)
      expect(await page.locator('#view').innerText()).to.equal('')
    })
  })
})
