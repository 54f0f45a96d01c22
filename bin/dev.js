#!/usr/bin/env -S node --import tsx
const { main } = await import('../src/main.ts')

await main(import.meta.url)
