// An index of the test's own: test/server/main.go serves it, and ends with this process.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** Starts an empty index. */
export async function start() {
  const program = spawn('go', ['run', './test/server'], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(program, 'exit')
  const [url] = await Promise.race([once(createInterface(program.stdout), 'line'), ended])
  if (typeof url !== 'string') throw new Error(`the server of the test ended with code ${url}`)
  let n = 0
  const apply = async (...events) => {
    const res = await fetch(`${url}/test/apply`, { method: 'POST', body: JSON.stringify(events) })
    if (!res.ok) throw new Error(await res.text())
  }
  return {
    url,
    apply,
    /** Makes an account's new record link to a target; source is as queries write it. */
    async link(did, source, target) {
      const colon = source.indexOf(':')
      const links = [{ path: source.slice(colon + 1), target }]
      await apply({ op: 'create', did, collection: source.slice(0, colon), rkey: `r${++n}`, links })
    },
    async stop() {
      program.stdin.end()
      await ended
    },
  }
}
