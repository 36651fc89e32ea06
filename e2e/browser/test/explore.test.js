// From a target to its links, forwards and back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, elsewhere, linking, picture, popular, q, views, visit } from './browser.js'

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

test('each row links to the record in apps', () => visit(views.desktop, async (page) => {
  await page.goto(list)
  const rows = page.locator('.linkers li')
  assert.ok(await rows.count() > 0)
  assert.equal(await page.locator('.linkers .open a[href^="https://pdsls.dev/at://did:"]').count(), await rows.count())
  for (const rel of await page.locator('.open a').evaluateAll((links) => links.map((a) => a.rel))) assert.match(rel, /noopener.*nofollow/)
  assert.match(await page.locator('#list').innerText(), /^[\d,]+ likes? /)
}))

test('without scripts, a record shows its content and its links', () => visit(views.phone, async (page) => {
  const uri = await linking()
  const [did, collection, rkey] = uri.slice('at://'.length).split('/')
  const { links, value } = await ask(`/xrpc/dev.weft.links.getRecordLinks?did=${did}&collection=${collection}&rkey=${rkey}&hydrate=true`)
  await page.goto(`/links/all?target=${q(uri)}`)
  assert.deepEqual(await page.locator('.target .open a').allInnerTexts(), ['Bluesky', 'PDSls'])
  const paths = await page.locator('.forward dt .at').allInnerTexts()
  assert.equal(new Set(paths).size, paths.length, `a path repeats: ${paths}`)
  assert.equal(await page.locator('.forward dd').count(), Math.min(links.length, 100))
  if (!value) return // the demo keeps no content
  assert.equal((await page.locator('.record blockquote').innerText()).slice(0, 40), value.text.slice(0, 40))
  await page.locator('.record summary').click()
  assert.ok((await page.locator('.record pre').innerText()).includes(JSON.stringify(value.createdAt)))
}, { javaScriptEnabled: false }))

test('an address without links leads to the one with links', () => visit(views.phone, async (page) => {
  const { subject, other } = await elsewhere()
  await page.goto(`/links/all?target=${q(other)}`)
  const link = page.locator('section:has(#nearby) tbody a', { hasText: subject }).first()
  assert.equal(await link.innerText(), subject)
  await link.click()
  await page.waitForURL((url) => url.searchParams.get('target') === subject)
  await page.goto(`/search?q=${q(other)}`)
  const at = new URL(page.url()).searchParams
  assert.deepEqual([at.get('from'), (await ask(`/links/all?target=${q(at.get('target'))}`)).links !== undefined], [other, true])
  assert.match(await page.locator('.target').innerText(), /You searched for/)
}, { javaScriptEnabled: false }))

test('with the keyboard, a row opens without a mouse', () => visit(views.desktop, async (page) => {
  await page.goto(list)
  await page.locator('.linkers li').first().locator('.when > a').focus()
  await page.keyboard.press('Tab')
  const [href, outline] = await page.evaluate(() => [document.activeElement.href, getComputedStyle(document.activeElement).outlineStyle])
  assert.match(href, /^https:\/\/pdsls\.dev\/at:\/\/did:/)
  assert.notEqual(outline, 'none')
}))

test('the same address is JSON for other clients', async () => {
  const a = await ask(list)
  assert.equal(a.records.length, 10)
})
