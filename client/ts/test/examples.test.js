// The examples, against an index of the test's own: they print what those in Go print.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { start } from './server.js'

const embed = 'app.bsky.feed.post:embed.external.uri'
const like = 'app.bsky.feed.like:subject.uri'

let index
before(async () => (index = await start()))
after(() => index?.stop())

/** Starts an example. `lines` are those that it prints, `ended` gives its exit code and what it says on stderr. */
function run(name, args, stdin = '') {
  const program = spawn(process.execPath, [fileURLToPath(new URL(`../build/examples/${name}.js`, import.meta.url)), ...args], { timeout: 60_000 })
  let stderr = ''
  program.stderr.on('data', (chunk) => (stderr += chunk))
  program.stdin.end(stdin)
  return {
    lines: createInterface({ input: program.stdout }),
    ended: once(program, 'close').then(([code]) => ({ code, stderr })),
    stop: () => program.kill(),
  }
}

test('counts', async () => {
  const post = (i) => `at://did:plc:counted/app.bsky.feed.post/3k${i}`
  const events = []
  const want = []
  let stdin = ''
  for (let i = 0; i < 300; i++) { // 1,200 counts are two calls
    stdin += `${post(i)}\n`
    const isLiked = i % 100 === 7
    if (isLiked) {
      const one = (did, collection, path) => events.push({ op: 'create', did, collection, rkey: `c${i}`, links: [{ path, target: post(i) }] })
      one('did:plc:bob', 'app.bsky.feed.like', 'subject.uri')
      one('did:plc:carol', 'app.bsky.feed.like', 'subject.uri')
      one('did:plc:bob', 'app.bsky.feed.post', 'reply.parent.uri')
    }
    want.push(`${post(i)}  ${isLiked ? 2 : 0} likes  0 reposts  ${isLiked ? 1 : 0} replies  0 quotes`)
  }
  await index.apply(...events)
  const program = run('counts', [index.url], stdin + '\n')
  const got = []
  for await (const line of program.lines) got.push(line)
  assert.deepEqual(await program.ended, { code: 0, stderr: '' })
  assert.deepEqual(got, want)
})

test('notifications', async () => {
  const alice = 'did:plc:alice'
  const post = `at://${alice}/app.bsky.feed.post/3k`
  await index.link('did:plc:bob', 'app.bsky.graph.follow:subject', alice)
  await index.link('did:plc:bob', like, 'at://did:plc:dave/app.bsky.feed.post/3k')
  await index.link(alice, 'app.bsky.feed.post:reply.parent.uri', post)
  await index.link('did:plc:carol', like, post)
  const program = run('notifications', [index.url, alice])
  const got = []
  for await (const line of program.lines) {
    assert.match(line, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}/)
    got.push(line.slice('2026-01-01 00:00:00  '.length))
    if (got.length === 2) {
      await index.link('did:plc:bob', like, 'https://nobody.example/')
      await index.link('did:plc:bob', 'app.bsky.feed.repost:subject.uri', post)
      await index.link('did:plc:bob', 'com.example.thing:about', alice)
    }
    if (got.length === 4) break
  }
  program.stop()
  assert.deepEqual(got, [
    'did:plc:bob follows you', `did:plc:carol likes ${post}`,
    `did:plc:bob reposts ${post}`, 'did:plc:bob links to (com.example.thing:about) you',
  ])
  assert.equal((await program.ended).stderr, '')
})

test('mysite', async () => {
  await index.link('did:plc:bob', embed, 'https://example.org/')
  await index.link('did:plc:carol', embed, 'https://example.org/')
  await index.link('did:plc:bob', 'com.example.bookmark:url', 'https://example.org/about')
  await index.link('did:plc:bob', embed, 'https://example.com/')
  const program = run('mysite', [index.url, 'https://example.org/', 'https://Example.org/about'])
  const got = []
  for await (const line of program.lines) {
    if (line.startsWith('  ')) assert.match(line, /^ {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}at:/)
    got.push(line.replace(/^ .*(at:.*)\/r\d+$/, '$1').replace(/\/r\d+$/, ''))
    if (got.length === 5) {
      await index.link('did:plc:dave', embed, 'https://example.com/')
      await index.link('did:plc:dave', embed, 'https://example.org/new')
    }
    if (got.length === 6) break
  }
  program.stop()
  assert.deepEqual(got, [
    `https://example.org/: from ${embed} (links: 2, accounts: 2)`, 'at://did:plc:carol/app.bsky.feed.post', 'at://did:plc:bob/app.bsky.feed.post',
    'https://Example.org/about: from com.example.bookmark:url (links: 1, accounts: 1)', 'at://did:plc:bob/com.example.bookmark',
    'new: https://example.org/new from at://did:plc:dave/app.bsky.feed.post',
  ])
  assert.equal((await program.ended).stderr, '')
})

test('mistakes are answered with what is wrong', async () => {
  for (const [name, args, wrong] of [
    ['counts', [], /^counts: usage: /], ['counts', [index.url, 'more'], /^counts: usage: /], ['counts', [index.url], /^counts: .*subject/],
    ['notifications', [index.url], /^notifications: usage: /], ['notifications', [index.url, 'alice'], /^notifications: `?did/],
    ['mysite', [index.url], /^mysite: usage: /], ['mysite', [index.url, 'example.org'], /^mysite: "example.org" is not the address of a page\n$/],
  ]) {
    const { code, stderr } = await run(name, args, 'hello\n').ended
    assert.equal(code, 1, name)
    assert.match(stderr, wrong)
  }
})
