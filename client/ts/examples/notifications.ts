// Prints the links to an account or to its records: the newest twenty links, then each new one.
//
//   node notifications.ts https://weft.example did:plc:…
import { Client } from '@weft/client'

/** What a link from a source is; other sources are shown as they are. */
const words: Record<string, string> = {
  'app.bsky.feed.like:subject.uri': 'likes',
  'app.bsky.feed.repost:subject.uri': 'reposts',
  'app.bsky.feed.post:reply.parent.uri': 'replies to',
  'app.bsky.feed.post:embed.record.uri': 'quotes',
  'app.bsky.graph.follow:subject': 'follows',
  'app.bsky.graph.listitem:subject': 'lists',
}

async function main([url, did, ...rest]: string[]): Promise<void> {
  if (url === undefined || did === undefined || rest.length > 0) throw new Error('usage: notifications URL-OF-A-WEFT DID')
  const weft = new Client(url)
  const page = await weft.accountLinksPage(did, { limit: 20 })
  for (const l of page.items.reverse()) show(did, l.time, l.did, l.source, l.subject)
  // The stream begins at the log row of the page: no link is missing between them.
  for await (const e of weft.events({ subjectDids: [did], ...(page.seq !== null && { cursor: page.seq }) })) {
    if (e.kind !== 'record') continue
    for (const l of e.added) show(did, e.time, e.did, l.source, l.subject)
  }
}

function show(of: string, time: string, by: string, source: string, subject: string): void {
  if (by === of) return // the account's own links, such as its replies to itself
  const word = words[source] ?? `links to (${source})`
  console.log(`${time.slice(0, 19).replace('T', ' ')}  ${by} ${word} ${subject.startsWith('at://') ? subject : 'you'}`)
}

main(process.argv.slice(2)).catch((e: Error) => {
  console.error(`notifications: ${e.message}`)
  process.exitCode = 1
})
