// The test's own weft, whose upstream (e2e/browser/upstream) is silent, late or in the middle of its archive.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

// weft reads its own variables only, and WEFT_URL is none of them.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WEFT_')))

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Builds the two programs. `follow` starts both, and `stop` ends them. */
export async function build() {
  const dir = await mkdtemp(join(tmpdir(), 'weft-browser-'))
  await promisify(execFile)('go', ['build', '-o', dir + '/', './cmd/weft', './e2e/browser/upstream'], { cwd: root })
  const started = []
  const start = (name, args, found) => new Promise((resolve, reject) => {
    const program = spawn(join(dir, name), args, { env, stdio: ['pipe', 'pipe', 'inherit'] })
    const ended = once(program, 'exit')
    started.push({ program, ended })
    program.once('error', reject)
    createInterface({ input: program.stdout }).on('line', (line) => {
      const [url] = found.exec(line) ?? []
      if (url) resolve(url)
    })
    ended.then(([code]) => reject(new Error(`${name} ended with code ${code}`)), reject)
  })
  return {
    /** Starts an upstream with `args` and a weft that follows it or, without `args`, a weft whose upstream doesn't exist. */
    async follow(name, args) {
      const upstream = args ? await start('upstream', args, /^http:.*/) : 'http://127.0.0.1:1'
      return start('weft', [
        'serve', `--data=${join(dir, name)}`, `--jetstream=${upstream}`, `--from=${args ? 'start' : 'now'}`, '--listen=127.0.0.1:0', '--log-level=error',
        '--resolve-handles=false', '--replicate=off',
      ], /http:\S+/)
    },
    async stop() {
      for (const { program, ended } of started.reverse()) {
        program.stdin.end()
        program.kill()
        await ended
      }
      await rm(dir, { recursive: true })
    },
  }
}
