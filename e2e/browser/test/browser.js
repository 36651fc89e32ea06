// Shared code of the page tests: an isolated browser, pages that record their requests and console messages, and an index,
// the demo at WEFT_URL.
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, before } from 'node:test'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

export const base = (process.env.WEFT_URL ?? '').replace(/\/+$/, '')
assert.ok(base, 'WEFT_URL is not set: start `weft demo` and set it to the URL that it prints')

const screenshots = new URL('../screenshots/', import.meta.url)
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

// A reader of a page waits for a few seconds at most, on a slow machine too.
const patience = 15_000

let browser
before(async () => {
  mkdirSync(screenshots, { recursive: true })
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  })
})
after(() => browser?.close())

/** Views of a page: without motion, because the colour of a moving element can't be measured. */
export const views = {
  desktop: { viewport: { width: 1280, height: 900 }, colorScheme: 'light', reducedMotion: 'reduce' },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: 'dark', reducedMotion: 'reduce' },
  phone: { viewport: { width: 360, height: 740 }, colorScheme: 'light', reducedMotion: 'reduce', hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
}

/**
 * Opens a tab, lets `look` use it, and then checks the page: no error in the console, no request to another
 * origin. `expected` matches messages that are part of the test, such as the browser's own about a 404, and `elsewhere` is another origin
 * that the test itself serves. `at` is the test's own weft.
 */
export async function visit(view, look, { javaScriptEnabled = true, expected = /^$/, elsewhere, at = base } = {}) {
  const context = await browser.newContext({ ...view, javaScriptEnabled, baseURL: at })
  context.setDefaultTimeout(patience)
  const wrong = []
  context.on('console', (m) => {
    if (['error', 'warning'].includes(m.type()) && !expected.test(m.text())) wrong.push(`console ${m.type()}: ${m.text()}`)
  })
  context.on('weberror', (e) => wrong.push(`uncaught: ${e.error()}`))
  context.on('request', (r) => {
    if (![at, elsewhere].includes(new URL(r.url()).origin) && !r.url().startsWith('data:')) wrong.push(`a request leaves for ${r.url()}`)
  })
  try {
    const page = await context.newPage()
    await look(page)
    assert.deepEqual(wrong, [])
  } finally {
    await context.close()
  }
}

/** Takes a screenshot of the whole page, for people. */
export async function picture(page, name) {
  await page.screenshot({ path: fileURLToPath(new URL(`${name}.png`, screenshots)), fullPage: true, animations: 'disabled' })
}

/** Checks that axe finds no serious problem, which would keep people from reading or using the page. */
export async function accessible(page) {
  await page.evaluate(axe) // as the browser's own, so that the page's policy doesn't forbid it
  const found = await page.evaluate(async () => (await window.axe.run()).violations)
  const serious = found.filter((v) => ['serious', 'critical'].includes(v.impact))
  assert.deepEqual(serious.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).slice(0, 3).join(' | ')}`), [])
}

/** Checks that the page doesn't overflow horizontally. */
export async function fits(page) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth)
  const room = page.viewportSize().width
  assert.ok(wide <= room, `the page is ${wide} pixels wide, the window ${room}`)
}

/** Queries the API, as a program does. */
export async function ask(path, at = base) {
  const res = await fetch(at + path, { headers: { Accept: 'application/json' } })
  assert.equal(res.status, 200, `${path}: ${res.status}`)
  return res.json()
}

let found
/** A post with many likes, and an account that likes it, from the demo's first events. */
export function popular() {
  return (found ??= search())
}

async function search() {
  const source = 'app.bsky.feed.like:subject.uri'
  const stop = new AbortController()
  const res = await fetch(`${base}/events?cursor=1&wantedSources=${encodeURIComponent(source)}`, { signal: stop.signal })
  const counts = new Map()
  let text = ''
  let seen = 0
  for await (const chunk of res.body) {
    text += Buffer.from(chunk).toString()
    const lines = text.split('\n')
    text = lines.pop()
    for (const line of lines) {
      if (!line.startsWith('data: ')) continue
      seen++
      for (const { subject } of JSON.parse(line.slice(6)).added ?? []) counts.set(subject, (counts.get(subject) ?? 0) + 1)
    }
    if (seen > 5000) break
  }
  stop.abort()
  const [subject] = [...counts].sort((a, b) => b[1] - a[1])[0]
  return { subject, source, author: subject.split('/')[2] }
}

/** A reply to a post: it has a link, and text if the demo stores the content of records. */
export const linking = () => first('app.bsky.feed.post:reply.parent.uri', async ({ did, collection, rkey }) => {
  const { links } = await ask(`/xrpc/dev.weft.links.getRecordLinks?did=${did}&collection=${collection}&rkey=${rkey}`)
  return links.length > 0 && `at://${did}/${collection}/${rkey}`
})

/** Another address, with http, of a web page with links. */
export const elsewhere = () => first('app.bsky.feed.post:embed.external.uri', async ({ added }) => {
  const { subject } = added?.find((l) => l.subject.startsWith('https://')) ?? {}
  if (!subject) return ''
  const { links } = await ask(`/links/all?target=${encodeURIComponent(subject)}`)
  const other = subject.replace('https:', 'http:')
  const there = await ask(`/links/all?target=${encodeURIComponent(other)}`)
  return Object.keys(links).length > 0 && Object.keys(there.links).length === 0 && { subject, other }
})

/** The first result of `of` for an event of a source. */
export async function first(source, of, at = base) {
  const stop = new AbortController()
  const res = await fetch(`${at}/events?cursor=1&wantedSources=${encodeURIComponent(source)}`, { signal: stop.signal })
  let text = ''
  let found
  for await (const chunk of res.body) {
    text += Buffer.from(chunk).toString()
    const lines = text.split('\n')
    text = lines.pop()
    for (const line of lines) {
      if (found || !line.startsWith('data: ')) continue
      found = await of(JSON.parse(line.slice(6)))
    }
    if (found) break
  }
  stop.abort()
  return found
}

export const q = encodeURIComponent
