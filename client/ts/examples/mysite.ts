// Prints the links to the pages of a web site: for each page, the number of links of each kind and the newest five, then each
// new link to any page of the sites. Give the addresses as browsers show them.
//
//   node mysite.ts https://weft.example https://example.org/ https://example.org/about
import { Client } from '@weft/client'

async function main([url, ...pages]: string[]): Promise<void> {
  if (url === undefined || pages.length === 0) throw new Error('usage: mysite URL-OF-A-WEFT PAGE…')
  const weft = new Client(url)
  const status = await weft.status()
  const sites = new Set<string>()
  for (const page of pages) {
    sites.add(siteOf(page))
    await show(weft, page)
  }
  // The stream begins before the first page's query: a link may be shown twice, but none is missing.
  for await (const e of weft.events({ subjectPrefixes: [...sites], cursor: status.index.log_seq })) {
    if (e.kind !== 'record') continue
    for (const l of e.added) console.log(`new: ${l.subject} from at://${e.did}/${e.collection}/${e.rkey}`)
  }
}

/** What the addresses of all pages of a page's site begin with. */
function siteOf(page: string): string {
  if (!/^https?:\/\/./.test(page) || !URL.canParse(page)) throw new Error(`"${page}" is not the address of a page`)
  return new URL(page).origin + '/'
}

/** Prints the links to a page. */
async function show(weft: Client, page: string): Promise<void> {
  for (const s of await weft.sources(page)) {
    console.log(`${page}: from ${s.source} (links: ${s.links}, accounts: ${s.dids})`)
    const list = await weft.backlinksPage(page, s.source, { limit: 5 })
    for (const r of list.items) console.log(`  ${r.time.slice(0, 19).replace('T', ' ')}  at://${r.did}/${r.collection}/${r.rkey}`)
  }
}

main(process.argv.slice(2)).catch((e: Error) => {
  console.error(`mysite: ${e.message}`)
  process.exitCode = 1
})
