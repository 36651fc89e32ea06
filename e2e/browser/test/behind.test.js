// Every page of an index that is behind has a notice: no event read yet, behind a live network, and in the middle of an
// archive. An index of a silent network is up to date.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { accessible, ask, first, fits, picture, q, views, visit } from './browser.js'
import { build } from './server.js'

// For each state: arguments of the upstream, the condition of /status, the notice of all pages, and the heading
// of the status page. The silent one is last: weft waits for half a minute before it trusts the silence.
const old = /2026-01-01 \d\d:\d\d UTC, \d+ days ago/
const states = {
  unreachable: { args: null, ready: () => true, title: 'No event read yet:', text: /read no event/, heading: 'No event read yet' },
  late: { args: ['-events=2000', '-rate=20'], ready: (s) => s.index.log_seq > 1500, title: 'Behind the network:', text: old, heading: 'Behind the network' },
  'catching-up': {
    args: ['-events=50000', '-pace=2s'], ready: (s) => s.index.log_seq > 300 && s.upstream.replay,
    title: 'Behind the network:', text: old, heading: 'Behind the network',
  },
  silent: { args: [], ready: (s) => s.upstream.connected && s.upstream.lag_seconds > 0, heading: 'Up to date' },
}

let programs
before(async () => {
  programs = await build()
  await Promise.all(Object.entries(states).map(async ([name, state]) => (state.at = await programs.follow(name, state.args))))
})
after(() => programs?.stop())

/** The weft of a state, once it has reached it, with the address of a target with links, if there is one. */
async function settled(state) {
  while (!state.target) {
    const status = await ask('/status', state.at)
    if (!state.ready(status)) await new Promise((resolve) => setTimeout(resolve, 200))
    else if (status.index.links === 0) state.target = 'https://nobody.example/links/here'
    else state.target = await first('app.bsky.feed.like:subject.uri', ({ added }) => added?.[0]?.subject, state.at)
  }
  return state
}

/** Opens pages of a state, and checks that they show the notice; the status page has it as its heading. */
async function look(page, state, each) {
  const { at, target, title, text, heading } = await settled(state)
  for (const [name, address] of Object.entries({ home: '/', explore: `/links/all?target=${q(target)}`, top: '/xrpc/dev.weft.links.getTop', status: '/status' })) {
    const res = await page.goto(at + address)
    assert.equal(res.status(), 200)
    const notice = page.locator('.notice[role=status]')
    assert.equal(await notice.count(), title && name !== 'status' ? 1 : 0, `the notices of ${name}`)
    if (name === 'status') {
      assert.equal(await page.locator('h1').innerText(), heading)
    } else if (title) {
      assert.equal(await notice.locator('strong').innerText(), title)
      assert.match(await notice.innerText(), text)
      assert.equal(await notice.locator('a').getAttribute('href'), '/status')
    }
    await each(name)
  }
}

for (const [name, state] of Object.entries(states)) {
  for (const [how, view] of Object.entries(views)) {
    test(`${name}, ${how}`, () => visit(view, (page) => look(page, state, async (of) => {
      await picture(page, `${name}-${of}-${how}`)
      await accessible(page)
      await fits(page)
    }), { at: state.at }))
  }

  test(`${name}, without scripts`, () => visit(views.phone, async (page) => {
    await look(page, state, () => {})
    if (!state.title) return
    await page.goto('/')
    await page.locator('.notice a').click()
    await page.waitForURL('**/status')
    assert.ok(!/Up to date|behind 0|All is well/i.test(await page.locator('main').innerText()))
  }, { javaScriptEnabled: false, at: state.at }))
}

test('the first page of a late index shows the newest links read and their age', async () => {
  const { at } = await settled(states.late)
  await visit(views.phone, async (page) => {
    await page.goto('/')
    assert.equal(await page.locator('#loom').innerText(), 'Newest links read')
    assert.match(await page.locator('[data-live=lag]').innerText(), /^\d+ days$/)
    assert.ok((await page.locator('[data-ticker] li').count()) > 0)
    assert.equal(await page.locator('[data-empty]').count(), 0)
  }, { at })
})

test('the most linked page of a late index shows the time of its newest event', async () => {
  const { at } = await settled(states.late)
  await visit(views.phone, async (page) => {
    await page.goto(`${at}/xrpc/dev.weft.links.getTop`)
    assert.match(await page.locator('main .empty').innerText(), /not read that far. It is \d+ days behind the network: it has events up to 2026-01-01 /)
  }, { at })
})

test('the status page shows the state of the upstream', async () => {
  for (const [state, says] of [
    [states.unreachable, /(Not connected|Connecting) to[^]*No connection since [^]*: /],
    [states['catching-up'], /Replaying[^]*reads the past events of this server first/],
    [states.silent, /Connected to[^]*weft reads events from this server/],
  ]) {
    const { at } = await settled(state)
    await visit(views.phone, async (page) => {
      await page.goto('/status')
      assert.match(await page.locator('section[aria-labelledby=upstream]').innerText(), says)
    }, { at })
  }
})

test('the first page of an empty index names its wait', async () => {
  for (const [state, lag, says] of [[states.unreachable, /^unknown$/, /^No link arrives now/], [states.silent, /^\d/, /^No link has arrived yet/]]) {
    const { at } = await settled(state)
    await visit(views.phone, async (page) => {
      await page.goto('/')
      assert.match(await page.locator('[data-live=lag]').innerText(), lag)
      assert.match(await page.locator('[data-empty]').innerText(), says)
      assert.equal(await page.locator('[data-ticker] li').count(), 0)
    }, { at })
  }
})

test('the status page shows the progress of a replay', async () => {
  const { at } = await settled(states['catching-up'])
  await visit(views.phone, async (page) => {
    await page.goto('/status')
    assert.match(await page.locator('.replay').innerText(), /Replaying the archive of http:.* left\s+[\d.]+k? of about 50.0k events/)
  }, { at })
})
