// Against a running weft: WEFT_URL, such as that of "weft demo", whose network grows.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client, WeftError } from '../dist/index.js'

const base = process.env.WEFT_URL
assert.ok(base, 'WEFT_URL is the URL of a running weft')
const follows = 'app.bsky.graph.follow:subject'

/** An event of a follow, and so an account that is followed. */
async function followed(client) {
  const signal = AbortSignal.timeout(60_000)
  for await (const e of client.events({ sources: [follows], signal })) {
    if (e.kind === 'record' && e.added.length > 0) return e
  }
  assert.fail('nobody follows anybody')
}

test('questions', async () => {
  const client = new Client(base + '/')
  const event = await followed(client)
  const did = event.added[0].subject
  assert.equal(event.added[0].source, follows)
  const total = await client.count(did, follows)
  assert.ok(total >= 1)
  const [count, none] = await client.counts([{ subject: did, source: follows }, { subject: 'https://nowhere.example/', source: follows }])
  assert.ok(count.links >= total && count.dids >= 1 && count.subject === did)
  assert.deepEqual(none, { subject: 'https://nowhere.example/', source: follows, links: 0, dids: 0 })

  const many = Array.from({ length: 1234 }, (_, i) => ({ subject: `https://nowhere.example/${i}`, source: follows }))
  const longer = await client.counts([...many, { subject: did, source: follows }])
  assert.ok(longer.length === 1235 && longer[1233].links === 0 && longer[1234].links >= total)

  const until = new Date()
  const whole = await client.backlinksPage(did, follows, { limit: 1000, until })
  assert.equal(whole.items.length, Math.min(whole.total, 1000))
  const walked = []
  for await (const r of client.backlinks(did, follows, { limit: Math.max(1, Math.ceil(whole.items.length / 4)), until })) walked.push(r)
  const known = new Set(walked.map((r) => r.did + r.rkey))
  assert.equal(known.size, walked.length, 'a record comes twice')
  const dids = []
  for await (const d of client.dids(did, follows, { limit: 50 })) dids.push(d)
  assert.equal(new Set(dids).size, dids.length)
  const oldest = await client.backlinksPage(did, follows, { reverse: true, limit: 1, dids: [walked[0].did] })
  assert.equal(oldest.items[0].did, walked[0].did)

  let n = 0
  let last = '9'
  for await (const l of client.accountLinks(did, { limit: 3 })) {
    assert.ok(l.time <= last, 'not newest first')
    last = l.time
    if (++n === 10) break
  }
  const newest = walked[0]
  const forward = await client.recordLinks(newest.did, newest.collection, newest.rkey)
  assert.ok(forward.some((l) => l.subject === did && l.source === follows), JSON.stringify(forward))
  const top = await client.top({ source: follows, limit: 3 })
  assert.equal(top.source, follows)
  assert.ok(Date.parse(top.since) <= Date.parse(top.until) && Array.isArray(top.subjects) && top.subjects.length <= 3, JSON.stringify(top))
  const { from, seconds, sources } = await client.timeline(did, [follows], { spans: 12, until })
  assert.ok(from !== null && seconds > 0 && sources[0].counts.length <= 12)
  assert.equal(sources[0].total, sources[0].older + sources[0].counts.reduce((a, b) => a + b, 0))

  const counts = await client.accountCounts(did)
  assert.ok(counts.sources.some((s) => s.source === follows && s.links >= 1) && counts.total >= 1)
  assert.ok(n >= 1)
})

test('refusals', async () => {
  const client = new Client(base)
  await assert.rejects(client.count('hello', follows), (e) => e instanceof WeftError && e.status === 400 && e.error === 'InvalidRequest' && e.message.includes('subject'))
  await assert.rejects(client.events({ cursor: 10 ** 14 }).next(), (e) => e instanceof WeftError && e.error === 'FutureCursor')
})

test('the stream goes on where it broke', async () => {
  // Every connection breaks in the middle of its eighth event, however large events are: one that breaks before its first event
  // ends never gets on.
  let connections = 0
  const broken = async (url, init) => {
    connections++
    const res = await fetch(url, init)
    let all = Buffer.alloc(0)
    let events = 0
    let from = 0 // where to look for the next event
    const cut = new TransformStream({
      transform(chunk, controller) {
        const sent = all.length
        all = Buffer.concat([all, chunk])
        for (let at; events < 8 && (at = all.indexOf('\ndata: {', from)) >= 0; events++) from = at + 8
        // An event has over 200 bytes.
        const end = events === 8 ? from + 100 : Infinity
        controller.enqueue(all.subarray(sent, Math.max(sent, Math.min(end, all.length))))
        if (all.length >= end) controller.error(new Error('broken'))
      },
    })
    return new Response(res.body.pipeThrough(cut), { status: res.status })
  }
  const first = await followed(new Client(base))
  const collect = async (client) => {
    const events = []
    for await (const e of client.events({ cursor: first.cursor, signal: AbortSignal.timeout(60_000) })) {
      events.push(e.cursor)
      if (events.length === 40) return events
    }
    return events
  }
  const whole = await collect(new Client(base))
  const pieces = await collect(new Client(base, { fetch: broken }))
  assert.equal(whole.length, 40)
  assert.deepEqual(pieces, whole)
  assert.ok(connections >= 6, `${connections} connections`) // of seven events each
})

test('an abort ends it', async () => {
  const abort = new AbortController()
  setTimeout(() => abort.abort(), 200)
  let n = 0
  for await (const _ of new Client(base).events({ signal: abort.signal })) n++
  assert.ok(n >= 0)
})

test('a list and its changes are one', async () => {
  const client = new Client(base)
  const subjects = new Map()
  for await (const e of client.events({ sources: [follows], signal: AbortSignal.timeout(60_000) })) {
    for (const l of e.kind === 'record' ? e.added : []) subjects.set(l.subject, (subjects.get(l.subject) ?? 0) + 1)
    if (subjects.size >= 100) break
  }
  const [did] = [...subjects].sort((a, b) => b[1] - a[1])[0]
  const have = new Set()
  const kinds = { listed: 0, added: 0, removed: 0 }
  let listed // some time after the list was watched
  for await (const c of client.watch(did, follows, { limit: 20, signal: AbortSignal.timeout(60_000) })) {
    const key = c.did + ' ' + c.rkey
    assert.equal(have.has(key), c.kind === 'removed', `${c.kind} ${key}`)
    assert.equal(c.time === undefined, c.kind === 'removed')
    if (c.kind === 'removed') have.delete(key)
    else have.add(key)
    kinds[c.kind]++
    if (kinds.added === 3) listed ??= await client.backlinksPage(did, follows, { limit: 1000 })
    if (kinds.added === 6) break
  }
  assert.ok(kinds.listed > 0 && kinds.added === 6, JSON.stringify(kinds))
  for (const r of listed.items) {
    if (have.has(r.did + ' ' + r.rkey)) continue
    const now = await client.backlinksPage(did, follows, { dids: [r.did] })
    assert.ok(!now.items.some((o) => o.rkey === r.rkey), `${r.did} ${r.rkey} is missing`)
  }
})

test('a list that the server refuses is not watched', async () => {
  await assert.rejects(new Client(base).watch('hello', follows).next(), (e) => e instanceof WeftError && e.status === 400)
})

test('a Constellation gives the same', async () => {
  const weft = new Client(base)
  const did = (await followed(weft)).added[0].subject
  const asked = []
  // A Constellation has none of weft's own methods, sends no Weft-Seq, and refuses with an empty body.
  const plain = new Client(base, {
    constellation: true,
    fetch: async (url, init) => {
      asked.push(url)
      const res = await fetch(url, init)
      const isPlain = !/dev\.weft|\/events|\/status/.test(url)
      return res.ok && isPlain ? new Response(await res.text(), { status: 200 }) : new Response(null, { status: isPlain ? res.status : 404 })
    },
  })
  const until = (await weft.backlinksPage(did, follows, { limit: 1 })).items[0].time
  const walked = []
  for await (const r of plain.backlinks(did, follows, { limit: 50 })) walked.push(`${r.did} ${r.rkey} ${r.time}`)
  assert.ok(walked.length >= 1 && new Set(walked).size === walked.length && walked.every((r) => r.endsWith(' ')))
  const dids = []
  for await (const d of plain.dids(did, follows, { limit: 50 })) dids.push(d)
  const [count] = await plain.counts([{ subject: did, source: follows }])
  const links = await plain.count(did, follows)
  const near = (a, b) => Math.abs(a - b) <= 20 // the network goes on
  assert.ok(near(count.links, walked.length) && near(links, count.links) && near(count.dids, dids.length), JSON.stringify(count))
  const sources = await plain.sources(did)
  assert.ok(sources.some((s) => s.source === follows && near(s.links, links) && s.dids >= 1), JSON.stringify(sources))
  const oldest = await plain.backlinksPage(did, follows, { reverse: true, limit: 1 })
  assert.equal(`${oldest.items[0].did} ${oldest.items[0].rkey} `, walked.at(-1))
  await assert.rejects(plain.backlinksPage(did, follows, { since: until }), /no since/)
  await assert.rejects(plain.status(), (e) => e instanceof WeftError && e.status === 404)
  await assert.rejects(plain.watch(did, follows).next(), /Weft-Seq/)
  assert.ok(asked.every((url) => !url.includes('dev.weft')), asked.join('\n'))
})

test('lists of accounts, and the status', async () => {
  const client = new Client(base)
  const items = 'app.bsky.graph.listitem:list'
  const signal = AbortSignal.timeout(60_000)
  for await (const e of client.events({ sources: [items], cursor: 0, signal })) {
    if (e.kind !== 'record' || e.added.length === 0) continue
    const list = e.added[0].subject
    const members = new Set()
    for await (const o of client.manyToMany(list, items, 'subject', { limit: 20 })) members.add(o.subject)
    if (members.size === 0) continue // it is gone again
    const [member] = members
    const counted = []
    for await (const n of client.manyToManyCounts(list, items, 'subject', { others: [member] })) counted.push(n)
    assert.equal(counted.length, 1)
    assert.ok(counted[0].subject === member && counted[0].records >= 1 && counted[0].dids >= 1)
    break
  }
  assert.ok(!signal.aborted, 'no list')
  const status = await client.status()
  assert.ok(status.ready && status.index.links > 0 && status.index.log_seq > 0)
})
