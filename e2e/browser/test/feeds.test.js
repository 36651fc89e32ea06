// Feeds and badges, as other programs and other sites' pages show them.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { base, picture, popular, views, visit } from './browser.js'

test('a page leads to a feed that the browser parses', () => visit(views.desktop, async (page) => {
  const { subject } = await popular()
  await page.goto(`/links/all?target=${subject}`)
  const href = await page.locator('link[rel=alternate][type="application/atom+xml"]').first().getAttribute('href')
  const feed = await page.evaluate(async (href) => {
    const res = await fetch(href)
    const doc = new DOMParser().parseFromString(await res.text(), 'application/xml')
    const text = (e, name) => e.querySelector(name)?.textContent
    return {
      type: res.headers.get('Content-Type'), error: doc.querySelector('parsererror')?.textContent, id: text(doc, 'feed > id'),
      entries: [...doc.querySelectorAll('entry')].map((e) => ({ id: text(e, 'id'), title: text(e, 'title'), updated: text(e, 'updated') })),
    }
  }, href)
  assert.equal(feed.error, undefined)
  assert.match(feed.type, /^application\/atom\+xml/)
  assert.match(feed.id, /^tag:weft\.dev,2026:feed\?/)
  assert.ok(feed.entries.length > 1, `${feed.entries.length} entries`)
  assert.equal(new Set(feed.entries.map((e) => e.id)).size, feed.entries.length)
  for (const e of feed.entries) assert.ok(e.title && Date.parse(e.updated) > 0, JSON.stringify(e))
}))

test('a badge shows on a page of another site, which is isolated from all others', async () => {
  const { subject, source } = await popular()
  const badge = `${base}/badge.svg?subject=${encodeURIComponent(subject)}&source=${source}&label=likes`
  const site = createServer((_, res) => {
    // Such a page loads only resources that allow embedding.
    res.writeHead(200, { 'Content-Type': 'text/html', 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cross-Origin-Opener-Policy': 'same-origin' })
    res.end(`<!doctype html><html lang=en><title>Elsewhere</title><link rel=icon href="data:,"><p>My post has <img id=badge alt=likes src="${badge}"></p>`)
  })
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve))
  const elsewhere = `http://127.0.0.1:${site.address().port}`
  try {
    await visit(views.desktop, async (page) => {
      await page.goto(elsewhere)
      assert.equal(await page.evaluate(() => crossOriginIsolated), true)
      const image = page.locator('#badge')
      await page.waitForFunction(() => document.querySelector('#badge').complete)
      const size = await image.evaluate((e) => [e.naturalWidth, e.naturalHeight])
      assert.ok(size[0] > 50 && size[1] === 20, `the badge is ${size} pixels`)
      // A script of that site may read it too.
      const text = await page.evaluate(async (at) => (await fetch(at)).text(), badge)
      const shown = Number(/aria-label="likes: ([\d,]+)"/.exec(text)[1].replaceAll(',', ''))
      assert.ok(shown > 0, `the badge says ${shown}`)
      await picture(page, 'badge-elsewhere')
    }, { elsewhere })
  } finally {
    site.close()
  }
})
