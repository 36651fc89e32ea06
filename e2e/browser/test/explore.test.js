// From a target to who links to it, forwards and back again.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, picture, popular, q, views, visit } from './browser.js'

const { subject, source } = await popular()
const list = `/xrpc/dev.weft.links.getBacklinks?subject=${q(subject)}&source=${q(source)}&limit=10`

/** The records that a page lists, by their keys. */
const listed = (page) => page.locator('main a[href*="app.bsky.feed.like"]').evaluateAll((links) => links.map((a) => a.href))

test('a target leads to its sources, a source to its links', () => visit(views.desktop, async (page) => {
  await page.goto(`/links/all?target=${q(subject)}`)
  const all = await ask(`/links/all?target=${q(subject)}`)
  const text = await page.locator('main').innerText()
  for (const collection of Object.keys(all.links)) assert.ok(text.includes(collection), `${collection} is not on the page`)
}))

test('pages go forwards and back', () => visit(views.desktop, async (page) => {
  await page.goto(list)
  const first = await listed(page)
  assert.ok(first.length > 0, 'nothing is listed')
  await page.locator('a[rel=next]').first().click()
  await page.waitForURL(/cursor=/)
  const second = await listed(page)
  assert.notDeepEqual(second, first)
  await picture(page, 'backlinks-second')
  const at = page.url()
  await page.locator('a[rel=next]').first().click()
  await page.waitForURL((url) => url.href !== at)
  await page.locator('a[rel=prev]').first().click()
  await page.waitForURL((url) => url.searchParams.get('cursor') === new URL(at).searchParams.get('cursor'))
  assert.deepEqual(await listed(page), second)
  await page.locator('a[rel=prev]').first().click()
  await page.waitForURL((url) => !url.searchParams.has('cursor'))
  assert.equal(await page.locator('a[rel=prev]').count(), 0)
}))

test('the same address is JSON for everybody else', async () => {
  const a = await ask(list)
  assert.equal(a.records.length, 10)
})
