// The content of records, of an index of the test's own that keeps it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Client } from '../dist/index.js'
import { start } from './server.js'

const post = 'at://did:plc:alice/app.bsky.feed.post/3k'
const quotes = 'app.bsky.feed.post:embed.record.uri'

let index
before(async () => (index = await start()))
after(() => index?.stop())

test('events come with the content of records, on request', async () => {
  const body = Buffer.from('\xa1\x64text\x62hi', 'latin1').toString('base64')
  const links = [{ path: 'embed.record.uri', target: 'at://did:plc:carol/app.bsky.feed.post/3k' }]
  const client = new Client(index.url)
  const post = (rkey) => index.apply({ op: 'create', did: 'did:plc:dan', collection: 'app.bsky.feed.post', rkey, body, links })
  await post('1')
  await post('2')
  for (const hydrate of [false, true]) {
    for await (const event of client.events({ subjectDids: ['did:plc:carol'], cursor: 0, hydrate })) {
      assert.equal(event.kind, 'record')
      assert.deepEqual(event.value, hydrate ? { text: 'hi' } : undefined)
      assert.equal(event.cid === undefined, !hydrate)
      if (event.rkey === '2') break
    }
  }
})

test('lists and records come with the content of records, on request', async () => {
  const body = Buffer.from('\xa1\x64text\x62hi', 'latin1').toString('base64')
  const record = { op: 'create', did: 'did:plc:bob', collection: 'app.bsky.feed.post', rkey: '3k', body, links: [{ path: 'embed.record.uri', target: post }] }
  await index.apply(record)
  const client = new Client(index.url)
  for (const hydrate of [false, true]) {
    for (const page of [await client.backlinksPage(post, quotes, { hydrate }), await client.accountLinksPage('did:plc:alice', { hydrate })]) {
      assert.equal(page.items.length, 1)
      assert.deepEqual(page.items[0].value, hydrate ? { text: 'hi' } : undefined)
      assert.equal(page.items[0].cid === undefined, !hydrate)
    }
  }
  const links = [{ source: quotes, subject: post }]
  const { cid, ...rest } = await client.hydratedRecord('did:plc:bob', 'app.bsky.feed.post', '3k')
  assert.deepEqual(rest, { links, value: { text: 'hi' } })
  assert.match(cid, /^bafy/)
  assert.deepEqual(await client.recordLinks('did:plc:bob', 'app.bsky.feed.post', '3k'), links)
  assert.deepEqual(await client.hydratedRecord('did:plc:bob', 'app.bsky.feed.post', 'none'), { links: [] })
})
