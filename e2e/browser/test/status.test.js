// The status page keeps up.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, views, visit } from './browser.js'

test('the status page refreshes and agrees with the API', () => visit(views.desktop, async (page) => {
  await page.goto('/status')
  const links = () => page.locator('.facts div', { hasText: 'Links made by active accounts' }).locator('.value').innerText()
  const first = await links()
  await page.waitForFunction((was) => ![...document.querySelectorAll('.facts .value')].some((e) => e.innerText === was), first)
  const now = await ask('/status')
  const shown = Number((await links()).replaceAll(',', ''))
  assert.ok(shown > Number(first.replaceAll(',', '')) && shown <= now.index.links, `${first}, then ${shown}, and the API says ${now.index.links}`)
  assert.equal(await page.locator('.curve svg').count(), 3)
}))
