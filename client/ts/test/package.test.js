// The package as npm would publish it: its files, and a program in JavaScript and in TypeScript that installs it.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = (program, args, options) => promisify(execFile)(program, args, options).catch((e) => assert.fail(`${e.message}\n${e.stdout}`))
const here = fileURLToPath(new URL('..', import.meta.url))

const program = `import { Client, WeftError, type Change, type HydratedRecord, type StreamEvent } from '@weft/client'
const weft = new Client('https://weft.example', { fetch: async () => new Response('{"total":7}') })
const total: number = await weft.count('did:plc:alice', 'app.bsky.graph.follow:subject')
async function* kinds(): AsyncGenerator<Change['kind'] | StreamEvent['kind']> {
  for await (const c of weft.watch('did:plc:alice', 'app.bsky.graph.follow:subject')) yield c.kind
}
export type Value = HydratedRecord['value']
console.log(total, typeof kinds, new WeftError(400, 'InvalidRequest', 'no') instanceof Error)
`

test('the package has what programs import', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'weft-package-'))
  t.after(() => rm(dir, { recursive: true }))
  const packed = JSON.parse((await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', dir], { cwd: here })).stdout)
  assert.deepEqual(packed[0].files.map((f) => f.path).sort(), [
    'LICENSE', 'README.md', 'dist/index.d.ts', 'dist/index.js', 'examples/counts.ts', 'examples/mysite.ts', 'examples/notifications.ts',
    'package.json', 'src/index.ts',
  ])
  const installed = join(dir, 'node_modules', '@weft', 'client')
  await mkdir(installed, { recursive: true })
  await run('tar', ['-xzf', join(dir, packed[0].filename), '-C', installed, '--strip-components', '1'])
  await writeFile(join(dir, 'package.json'), '{"type":"module"}')
  await writeFile(join(dir, 'program.ts'), program)
  const tsc = join(here, 'node_modules', '.bin', 'tsc')
  const how = ['--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--outDir', dir, 'program.ts']
  await run(tsc, ['--noEmit', '--module', 'es2022', '--moduleResolution', 'bundler', ...how], { cwd: dir })
  await run(tsc, ['--module', 'nodenext', ...how], { cwd: dir })
  assert.equal((await run(process.execPath, ['program.js'], { cwd: dir })).stdout, '7 function true\n')
})
