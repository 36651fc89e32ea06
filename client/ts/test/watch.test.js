// A list that is watched, against an index of the test's own.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Client } from '../dist/index.js'
import { start } from './server.js'

const likes = 'app.bsky.feed.like:subject.uri'
const collection = 'app.bsky.feed.like'

let index
before(async () => (index = await start()))
after(() => index?.stop())

const create = (post, did, rkey) => ({ op: 'create', did, collection, rkey, links: [{ path: 'subject.uri', target: post }] })
const remove = (did, rkey) => ({ op: 'delete', did, collection, rkey })
const account = (did, status) => ({ op: 'account', did, status })

/** Random numbers below n that are the same each time (mulberry32). */
function random(seed) {
  let a = seed
  return (n) => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % n
  }
}

/** Streams that can be broken. */
function breakable() {
  const open = new Set()
  const fetching = async (url, init) => {
    if (!url.includes('/events?')) return fetch(url, init)
    const connection = new AbortController()
    init.signal.addEventListener('abort', () => connection.abort())
    open.add(connection)
    return fetch(url, { ...init, signal: connection.signal })
  }
  const breakAll = () => {
    for (const connection of open) connection.abort()
    open.clear()
  }
  return { fetching, breakAll }
}

/** The at-uris that a list has now. */
async function listed(post) {
  const uris = new Set()
  for await (const r of new Client(index.url).backlinks(post, likes)) uris.add(`${r.did}/${r.rkey}`)
  return uris
}

for (const seed of [1, 2, 3, 4]) {
  test(`a list and its changes are one, whatever is written meanwhile and while connections break, ${seed}`, async () => {
    const post = `at://did:plc:alice/app.bsky.feed.post/${seed}`
    const below = random(seed)
    const step = () => {
      const did = `did:plc:s${seed}n${below(6)}`
      const rkey = `k${below(20)}`
      const what = below(12)
      if (what === 0) return account(did, below(5))
      return what < 4 ? remove(did, rkey) : create(post, did, rkey)
    }
    await index.apply(...Array.from({ length: 60 }, step))
    const { fetching, breakAll } = breakable()
    const write = async () => {
      for (let i = 0; i < 150; i++) {
        await index.apply(step())
        if (i % 50 === 49) breakAll()
      }
      await index.apply(create(post, `did:plc:s${seed}last`, '1'))
    }
    const have = new Set()
    const kinds = { listed: 0, added: 0, removed: 0 }
    let writing
    const signal = AbortSignal.timeout(60_000)
    for await (const c of new Client(index.url, { fetch: fetching }).watch(post, likes, { limit: 3, signal })) {
      writing ??= write() // when the first page is read, so that it writes between pages
      kinds[c.kind]++
      const record = `${c.did}/${c.rkey}`
      assert.equal(have.has(record), c.kind === 'removed', `${c.kind} ${record}`)
      assert.equal(c.time === undefined, c.kind === 'removed')
      if (c.kind === 'removed') have.delete(record)
      else have.add(record)
      if (record === `did:plc:s${seed}last/1`) {
        await writing
        await index.apply(create(post, `did:plc:s${seed}last`, '2')) // after the list
      }
      if (record === `did:plc:s${seed}last/2`) break
    }
    assert.ok(!signal.aborted, JSON.stringify(kinds))
    assert.deepEqual([...have].sort(), [...(await listed(post))].sort())
    assert.ok(kinds.listed > 0 && kinds.added > 0 && kinds.removed > 0, JSON.stringify(kinds))
  })
}

test('links of an account that is inactive since before the watch come when it is active', async () => {
  const post = 'at://did:plc:alice/app.bsky.feed.post/inactive'
  await index.apply(create(post, 'did:plc:carol', '1'), create(post, 'did:plc:dan', '1'), account('did:plc:dan', 1))
  const changes = []
  for await (const c of new Client(index.url).watch(post, likes, { signal: AbortSignal.timeout(60_000) })) {
    changes.push(`${c.kind} ${c.did}/${c.rkey}`)
    if (changes.length === 1) await index.apply(create(post, 'did:plc:dan', '2'), create(post, 'did:plc:carol', '2'))
    if (changes.length === 2) await index.apply(account('did:plc:dan', 0))
    if (changes.length === 4) break
  }
  assert.deepEqual(changes.slice(0, 2), ['listed did:plc:carol/1', 'added did:plc:carol/2'])
  assert.deepEqual(changes.slice(2).sort(), ['added did:plc:dan/1', 'added did:plc:dan/2'])
})

test('a list that is older than its event begins the watch again', async () => {
  const post = 'at://did:plc:alice/app.bsky.feed.post/behind'
  await index.apply(create(post, 'did:plc:carol', '1'))
  // A cache has the list of dan's links from before.
  const old = await fetch(`${index.url}/xrpc/dev.weft.links.getBacklinks?subject=${encodeURIComponent(post)}&source=${likes}&did=did:plc:dan`)
  let asked = 0
  const fetching = async (url, init) => (url.includes('did=did%3Aplc%3Adan') && ++asked === 1 ? old : fetch(url, init))
  const changes = []
  for await (const c of new Client(index.url, { fetch: fetching }).watch(post, likes, { signal: AbortSignal.timeout(60_000) })) {
    changes.push(`${c.kind} ${c.did}/${c.rkey}`)
    if (changes.length === 1) await index.apply(create(post, 'did:plc:dan', '1'))
    if (changes.length === 2) break
  }
  assert.deepEqual(changes, ['listed did:plc:carol/1', 'added did:plc:dan/1'])
  assert.ok(asked >= 1)
})

test('a list whose second page fails is listed again, and no record comes twice', async () => {
  const post = 'at://did:plc:alice/app.bsky.feed.post/broken'
  await index.apply(...['1', '2', '3'].map((rkey) => create(post, 'did:plc:carol', rkey)))
  let broken = 0
  const fetching = async (url, init) => {
    if (url.includes('/xrpc/') && url.includes('cursor=') && broken++ === 0) throw new TypeError('fetch failed')
    return fetch(url, init)
  }
  const changes = []
  const signal = AbortSignal.timeout(60_000)
  for await (const c of new Client(index.url, { fetch: fetching }).watch(post, likes, { limit: 2, signal })) {
    changes.push(`${c.kind} ${c.rkey}`)
    if (changes.length === 3) break
  }
  assert.deepEqual(changes, ['listed 3', 'listed 2', 'listed 1'])
  assert.ok(broken >= 1)
})
