// The page of the most linked targets: the first page links to it, and its numbers equal those of the lists.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accessible, ask, fits, picture, views, visit } from './browser.js'

const path = '/xrpc/dev.weft.links.getTop'

for (const [name, view] of Object.entries(views)) {
  test(`the most linked targets, ${name}`, () => visit(view, async (page) => {
    await page.goto('/')
    await page.locator(`a[href^="${path}"]`).first().click()
    await page.waitForSelector('.ranked tbody tr')
    await fits(page)
    await accessible(page)
    await picture(page, `top-${name}`)
    // Another kind, and a shorter time, from the keyboard.
    const kind = page.locator('.kinds a:not([aria-current])').first()
    const source = await kind.getAttribute('title')
    await kind.focus()
    await page.keyboard.press('Enter')
    await page.waitForURL((url) => url.searchParams.get('source') === source)
    await page.locator('.tabs a').first().click()
    await page.waitForURL((url) => url.searchParams.get('hours') === '1' && url.searchParams.get('source') === source)
    await fits(page)
    await accessible(page)
  }))
}

test('the most linked targets lead to the counted links, also without scripts', () => visit(views.desktop, async (page) => {
  await page.goto(path)
  const row = page.locator('.ranked tbody tr').first()
  const shown = Number((await row.locator('td.num').innerText()).replaceAll(',', ''))
  const href = await row.locator('td.num a').getAttribute('href')
  const { total } = await ask(href)
  assert.ok(total >= shown * 0.9 && total > 0, `the page says ${shown}, the list ${total}`)
  await row.locator('td.num a').click()
  await page.waitForSelector('.linkers li')
}, { javaScriptEnabled: false }))
