// Against a running weft: WEFT_URL.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'

const base = process.env.WEFT_URL
assert.ok(base, 'WEFT_URL is the URL of a running weft')

test('weft serves what the build makes', async () => {
  for (const [path, file] of [['/client.js', '../dist/index.js'], ['/client.d.ts', '../dist/index.d.ts']]) {
    const built = await readFile(new URL(file, import.meta.url), 'utf8')
    const res = await fetch(base + path)
    assert.equal(await res.text(), built, `${path} is not what npm run build makes of src: commit client.js and client.d.ts`)
    assert.equal(res.headers.get('Access-Control-Allow-Origin'), '*')
  }
})

test('the served module works', async () => {
  const text = await (await fetch(base + '/client.js')).text()
  const { Client } = await import('data:text/javascript;base64,' + Buffer.from(text).toString('base64'))
  const status = await new Client(base).status()
  assert.ok(status.index.links >= 0)
})
