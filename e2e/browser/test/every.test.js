// Every page, on a desktop, in dark mode and on a phone: it renders without errors, fits, and is accessible.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accessible, elsewhere, fits, linking, picture, popular, q, views, visit } from './browser.js'

const { subject, source, author } = await popular()
const record = await linking()
const { other } = await elsewhere()
const [collection, path] = source.split(':')
const list = `subject=${q(subject)}&source=${q(source)}`

const pages = {
  home: '/',
  explore: `/links/all?target=${q(subject)}`,
  'explore-account': `/links/all?target=${q(author)}`,
  'explore-record': `/links/all?target=${q(record)}`,
  'explore-web': `/links/all?target=${q(other)}`,
  'explore-nothing': `/links/all?target=${q('https://nobody.example/links/here')}`,
  links: `/links?target=${q(subject)}&collection=${collection}&path=.${path}`,
  accounts: `/links/distinct-dids?target=${q(subject)}&collection=${collection}&path=.${path}`,
  backlinks: `/xrpc/dev.weft.links.getBacklinks?${list}&limit=20`,
  'account-backlinks': `/xrpc/dev.weft.links.getAccountBacklinks?did=${q(author)}&limit=20`,
  counts: `/xrpc/dev.weft.links.getCounts?${list}&source=${q('app.bsky.feed.repost:subject.uri')}`,
  count: `/xrpc/blue.microcosm.links.getBacklinksCount?${list}`,
  status: '/status',
  api: '/api',
  'api-method': '/api/dev.weft.links.getBacklinks',
  'api-answer': `/api/dev.weft.links.getBacklinks?${list}&limit=3`,
  'api-stream': '/api/events',
  'error-parameter': '/links/all?target=hello',
  'error-path': '/nothing/here',
}

for (const [name, address] of Object.entries(pages)) {
  for (const [how, view] of Object.entries(views)) {
    test(`${name}, ${how}`, () => visit(view, async (page) => {
      const res = await page.goto(address)
      assert.match(res.headers()['content-type'], /^text\/html/)
      assert.equal(res.status(), { 'error-parameter': 400, 'error-path': 404 }[name] ?? 200)
      await picture(page, `${name}-${how}`)
      assert.equal(await page.locator('main').count(), 1, 'a page has one main part')
      assert.equal(await page.locator('h1').count(), 1, 'a page has one heading of the first rank')
      assert.notEqual(await page.title(), '')
      await accessible(page)
      await fits(page)
    }, { expected: /Failed to load resource.* (400|404)/ }))
  }
}
