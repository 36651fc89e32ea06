// Prints the counts that an app shows under posts. It reads at-uris of posts from standard input, one per line, and requests the
// likes, reposts, replies and quotes of all of them in one call for each thousand counts.
//
//   node counts.ts https://weft.example < posts.txt
import { createInterface } from 'node:readline'
import { Client } from '@weft/client'

/** The counts under a post. */
const sources = [
  { name: 'likes', source: 'app.bsky.feed.like:subject.uri' },
  { name: 'reposts', source: 'app.bsky.feed.repost:subject.uri' },
  { name: 'replies', source: 'app.bsky.feed.post:reply.parent.uri' },
  { name: 'quotes', source: 'app.bsky.feed.post:embed.record.uri' },
]

async function main([url, ...rest]: string[]): Promise<void> {
  if (url === undefined || rest.length > 0) throw new Error('usage: counts URL-OF-A-WEFT < POSTS')
  const posts: string[] = []
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() !== '') posts.push(line.trim())
  }
  const pairs = posts.flatMap((subject) => sources.map(({ source }) => ({ subject, source })))
  const counts = await new Client(url).counts(pairs)
  for (const [i, post] of posts.entries()) {
    console.log(post + sources.map(({ name }, j) => `  ${counts[i * sources.length + j]!.links} ${name}`).join(''))
  }
}

main(process.argv.slice(2)).catch((e: Error) => {
  console.error(`counts: ${e.message}`)
  process.exitCode = 1
})
