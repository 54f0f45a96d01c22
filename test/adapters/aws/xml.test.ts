import { expect } from 'chai'
import fc from 'fast-check'
import { escapeXml } from '../../../sandbox/aws/xml.js'
import { createObjectStore } from '../../../src/lib/adapters/aws/objectStore.js'
import { readXml } from '../../../src/lib/adapters/aws/xml.js'
import { createCompute } from '../../../src/lib/adapters/deploy/compute.js'
import { BUCKET, REGION, startPlane } from '../../support/plane.js'

const LIST = { set: [{ key: 'text', value: 'text' }], Flat: ['flat', { Key: 'text' }] } as const

describe('readXml', () => {
  it('reads what is asked for and passes over the rest, however it is nested', () => {
    const xml = `<?xml version="1.0" encoding="UTF-8"?>
      <Answer xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><other><set><item><key>no</key></item></set><e/></other>
        <set><item><more><key>no</key></more><key>a</key><value>&lt;1 &amp; &quot;2&quot;&gt; &#x1F600;&#10;</value></item>
        <item><key/><constructor>x</constructor></item></set>
        <Flat><Key>one</Key></Flat><Flat><Key>two</Key></Flat></Answer>`
    expect(readXml(xml, 'Answer', LIST)).to.deep.equal({
      set: [{ key: 'a', value: '<1 & "2"> 😀\n' }, { key: '' }],
      Flat: [{ Key: 'one' }, { Key: 'two' }],
    })
    expect(readXml('<Answer><set/></Answer>', 'Answer', LIST)).to.deep.equal({ set: [] })
  })

  it('gives back any text', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 })

    const items = fc.array(fc.record({ key: text, value: text }), { maxLength: 8 })
    fc.assert(
      fc.property(items, (set) => {
        const body = set.map(
          ({ key, value }) => `<item><key>${escapeXml(key)}</key><value>${escapeXml(value)}</value></item>`,
        )
        expect(readXml(`<A><set>${body.join('\n')}</set></A>`, 'A', LIST)).to.deep.equal({ set })
      }),
      { numRuns: 200 },
    )
  })

  it('leaves what is no plain document to others', () => {
    const whole = '<A><set><item><key>a</key></item></set></A>'
    for (let end = 0; end < whole.length; end++) expect(readXml(whole.slice(0, end), 'A', LIST)).to.equal(null)
    for (const odd of ['<B/>', 'text', '<A><set><item><key><!-- a --></key></item></set></A>', '<A><![CDATA[x]]></A>'])
      expect(readXml(odd, 'A', LIST), odd).to.equal(null)
    expect(readXml('<A><set><item><key>&#x110000;</key></item></set></A>', 'A', LIST)).to.equal(null)
    expect(readXml('<A><set><item><key>&eacute;</key></item></set></A>', 'A', LIST)).to.equal(null)
  })

  it('reads ids and keys of EC2 and S3 with every character that they may have', async () => {
    const plane = await startPlane()
    try {
      const odd = `a<&>"' é\u{1F600}`
      plane.launch('clawdinator-1').tags.set('clawdinator:id', odd)
      plane.world.putObject(BUCKET, `heartbeats/${odd}.json`, '{}')
      expect((await createCompute({ region: REGION }).describeHosts()).map(({ id }) => id)).to.deep.equal([odd])
      const store = createObjectStore({ region: REGION, bucket: BUCKET })
      const [object] = await store.list('heartbeats/')
      expect(object).to.deep.include({ key: `heartbeats/${odd}.json`, size: 2 })
      expect(object?.modifiedAt.getTime()).to.be.closeTo(Date.now(), 60_000)
      expect(object?.etag).to.match(/^"[0-9a-f]{32}"$/)
    } finally {
      await plane.close()
    }
  })
})
