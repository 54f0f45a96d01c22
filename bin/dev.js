#!/usr/bin/env node
await import('../scripts/build/build.mjs')
await import('./run.js')
