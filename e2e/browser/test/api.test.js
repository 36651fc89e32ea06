// The pages about the API: forms send queries, streams can be opened, and the displayed code runs.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ask, picture, popular, views, visit } from './browser.js'

const run = promisify(execFile)
const client = fileURLToPath(new URL('../../../client/ts', import.meta.url))

/** The methods on the list page. */
async function methods() {
  let all
  await visit(views.desktop, async (page) => {
    await page.goto('/api')
    all = await page.locator('.methods a').evaluateAll((links) => links.map((a) => a.getAttribute('href')))
  })
  assert.ok(all.length > 15, `${all.length} methods`)
  return all
}

test('a form shows the answer that a program gets', () => visit(views.desktop, async (page) => {
  const { subject, source } = await popular()
  await page.goto('/api')
  await page.locator('a[href="/api/dev.weft.links.getBacklinks"]').click()
  await page.locator('#f-subject').fill(subject)
  await page.locator('#f-source').fill(source)
  await page.locator('#f-limit').fill('2')
  await page.locator('#f-reverse').selectOption('true')
  await page.locator('.try-it button[type=submit]').click()
  const shown = JSON.parse(await page.locator('#answer pre').innerText())
  const asked = await ask(`/xrpc/dev.weft.links.getBacklinks?subject=${subject}&source=${source}&limit=2&reverse=true`)
  assert.deepEqual(shown.records, asked.records)
  assert.equal(await page.locator('#f-subject').inputValue(), subject)
}))

test('a form works without scripts, and with a body', () => visit(views.phone, async (page) => {
  await page.goto('/api/dev.weft.links.batchCounts')
  await page.locator('.try-it button[type=submit]').click()
  const { counts } = JSON.parse(await page.locator('#answer pre').innerText())
  assert.ok(counts[0].links > 0)
}, { javaScriptEnabled: false }))

for (const stream of ['events', 'subscribe']) {
  test(`/${stream} can be opened and closed`, () => visit(views.desktop, async (page) => {
    await page.goto(`/api/${stream}?wantedSources=app.bsky.feed.like%3Asubject.uri`)
    if (stream === 'subscribe') await page.locator('#f-instant').selectOption('true')
    const button = page.locator('[data-listen]')
    const heard = page.locator('[data-heard]')
    await button.click()
    await page.waitForFunction(() => document.querySelectorAll('[data-heard] span').length > 5)
    const [line] = (await heard.innerText()).split('\n')
    assert.ok(JSON.parse(line).cursor > 0)
    await picture(page, `api-${stream}-heard`)
    await button.click()
    const count = await heard.locator('span').count()
    await page.waitForTimeout(1000)
    assert.equal(await heard.locator('span').count(), count)
  }))
}

test('an error of a stream is shown', () => visit(views.desktop, async (page) => {
  await page.goto('/api/events')
  await page.locator('#f-cursor').fill('999999999999')
  await page.locator('[data-listen]').click()
  await page.waitForFunction(() => document.querySelector('[data-heard]').innerText.includes('cursor'))
}, { expected: /400|EventSource/ }))

test('the code of every method runs', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-code-'))
  try {
    const programs = []
    for (const href of await methods()) {
      await visit(views.desktop, async (page) => {
        await page.goto(href)
        const code = async (language) => page.locator(`[data-code="${language}"]`).evaluate((e) => e.textContent)
        const name = href.replace('/api/', '').replaceAll('/', '-')
        const endless = await page.locator('form[data-stream]').count() > 0
        programs.push({ name, endless, curl: endless ? '' : await code('curl'), ts: await code('TypeScript') })
      })
    }
    // TypeScript is compiled as in a user's project.
    mkdirSync(join(dir, 'node_modules', '@weft'), { recursive: true })
    symlinkSync(client, join(dir, 'node_modules', '@weft', 'client'))
    writeFileSync(join(dir, 'package.json'), '{"type":"module"}')
    for (const p of programs) writeFileSync(join(dir, `${p.name}.ts`), p.ts)
    const options = { strict: true, target: 'es2022', module: 'nodenext', lib: ['es2023', 'dom', 'dom.iterable'], types: [], outDir: 'out', moduleDetection: 'force' }
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['*.ts'] }))
    await run('node', [join(client, 'node_modules/typescript/bin/tsc'), '-p', dir]).catch((e) => assert.fail(e.stdout))

    for (const p of programs) {
      if (!p.endless) {
        const { stdout } = await run('sh', ['-c', `${p.curl} -fsS`])
        assert.ok(stdout.startsWith({ feed: '<?xml', 'badge.svg': '<svg' }[p.name] ?? '{'), `${p.name}: ${stdout.slice(0, 300)}`)
        const answer = await run('node', [join(dir, 'out', `${p.name}.js`)])
        assert.notEqual(answer.stdout.trim(), '', p.name)
      } else if (p.ts.includes('@weft/client')) {
        await firstLine('node', [join(dir, 'out', `${p.name}.js`)])
      }
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
})

/** Waits for output of a program that never ends. */
async function firstLine(command, args) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve)
      child.once('exit', (code) => reject(new Error(`${args} ended with code ${code}`)))
      setTimeout(() => reject(new Error(`${args} says nothing`)), 20_000).unref()
    })
  } finally {
    child.removeAllListeners('exit')
    child.kill()
  }
}
