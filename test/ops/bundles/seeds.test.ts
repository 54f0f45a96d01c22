import { expect } from 'chai'
import { readySeeds } from '../../../src/lib/ops/bundles/seeds.js'

describe('readySeeds', () => {
  it('reports the commit that was packed, if the branch moved meanwhile', async () => {
    const packed = { commit: 'new', file: 'x.tar.gz', size: 3, sha256: 'digest' }
    const source = {
      name: 'clawdinators',
      url: null,
      branch: 'main',
      commit: async () => 'old',
      pack: async () => packed,
    }
    const said: string[] = []
    const [seed] = await readySeeds([source], [], (text) => said.push(text))
    expect(seed).to.include({ commit: 'new', size: 3, sha256: 'digest' })
    expect(said).to.deep.equal(['clawdinators new'])
  })
})
