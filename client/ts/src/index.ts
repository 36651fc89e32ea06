/**
 * Asks a weft who links to what, and follows its stream. No dependencies: it needs `fetch`, as browsers and Node from 18 have
 * it. With the option `constellation`, it asks a Constellation.
 */

/** A refusal of the server. */
export class WeftError extends Error {
  constructor(
    /** The status of HTTP. */
    readonly status: number,
    /** Such as `InvalidRequest`. */
    readonly error: string,
    message: string,
  ) {
    super(message)
    this.name = 'WeftError'
  }
}

/** A record that links. */
export interface LinkRecord {
  did: string
  collection: string
  rkey: string
  /** What lists are ordered by, RFC 3339; empty from a Constellation. */
  time: string
  /** With `hydrate`, where it is kept. */
  cid?: string
  /** With `hydrate`, where it is kept. */
  value?: unknown
}

/** A link to an account or to something of it. */
export interface AccountLink extends LinkRecord {
  source: string
  subject: string
}

/** What all lists take. */
export interface ListOptions {
  /** Only links of this time or later: a Date or RFC 3339. */
  since?: Date | string
  /** Only links of before this time. */
  until?: Date | string
  /** Items of a page: 1 to 1000, by default 100. */
  limit?: number
  /** Where to begin: the cursor of the page before. */
  cursor?: string
  signal?: AbortSignal
}

export interface BacklinksOptions extends ListOptions {
  /** Only links by these accounts. */
  dids?: string[]
  /** Oldest first. */
  reverse?: boolean
  /** With the records' content, where it is kept; pages are then of 100 at most. */
  hydrate?: boolean
}

export interface AccountOptions extends ListOptions {
  /** Only links from these sources. */
  sources?: string[]
  hydrate?: boolean
}

export interface Page<T> {
  items: T[]
  /** Of the next page; null at the end. */
  cursor: string | null
  /** The page has all changes up to here: as the cursor of `events`, it continues the page. null: not known. */
  seq: number | null
}

export interface TotalPage<T> extends Page<T> {
  total: number
}

/** Names a list: a subject, and a source such as `app.bsky.feed.like:subject.uri`. */
export interface Pair {
  subject: string
  source: string
}

export interface Count extends Pair {
  links: number
  dids: number
}

/** The links to a subject from one source, and the accounts that made them. */
export interface SourceTotal {
  source: string
  links: number
  dids: number
}

/** What a record links to, and its content. */
export interface HydratedRecord {
  /** None for an unknown record, and for one of an inactive account. */
  links: Pair[]
  /** Where it is kept. */
  cid?: string
  /** Where it is kept. */
  value?: unknown
}

/** What else the records link to that link to a subject. */
export interface ManyOptions {
  /** Only records of these accounts. */
  dids?: string[]
  /** Only these other subjects. */
  others?: string[]
  /** Items of a page: 1 to 1000, by default 100. */
  limit?: number
  /** Where to begin: the cursor of the page before. */
  cursor?: string
  signal?: AbortSignal
}

/** A linking record and one of its other links. */
export interface Other {
  record: { did: string; collection: string; rkey: string }
  subject: string
}

/** The linking records that also link to `subject`, and their accounts. */
export interface OtherCount {
  subject: string
  records: number
  dids: number
}

/** What a weft says of itself; docs/api.md names the members. */
export type Status = { ready: boolean; version: string; index: { links: number; log_seq: number } } & Record<string, unknown>

export interface TimelineOptions {
  /** Only links of this time or later: a Date or RFC 3339. */
  since?: Date | string
  /** Only links of before this time. */
  until?: Date | string
  /** How many spans there are at most: 1 to 200, by default 60. */
  spans?: number
  signal?: AbortSignal
}

/** The links to a subject by time, in spans of one length. */
export interface Timeline {
  /** When the first span begins, RFC 3339; null without links. */
  from: string | null
  /** How long each span is. */
  seconds: number
  /** `total` is `older`, what came before the first span, and `counts` together; the oldest span is the first. */
  sources: { source: string; total: number; older: number; counts: number[] }[]
}

export interface TopOptions {
  /** The kind of link, `collection:path`; without it, the one with the most links. */
  source?: string
  /** How many hours, which end now: 1 to 24, by default 24. */
  hours?: number
  /** How many subjects there are at most: 1 to 50, by default 20. */
  limit?: number
  /** With the content of subjects that are records, where it is kept. */
  hydrate?: boolean
  signal?: AbortSignal
}

/** What is linked to most from a source. */
export interface Top {
  /** Links of this time or later are counted, RFC 3339. */
  since: string
  /** What had links by then was looked at. */
  until: string
  /** Empty where there are no links. */
  source: string
  subjects: { subject: string; links: number; cid?: string; value?: unknown }[]
  /** A subject that was not counted has at most so many links. */
  bound: number
  /** The sources with links of this time, those with the most first. */
  sources: string[]
}

/** Which events are wanted: all, where nothing is given. */
export interface StreamOptions {
  subjects?: string[]
  subjectPrefixes?: string[]
  subjectDids?: string[]
  sources?: string[]
  collections?: string[]
  actors?: string[]
  /** Changes of the status of all accounts too, or of all `actors`. */
  accounts?: boolean
  /** With the content of records, and with updates that change only the content. */
  hydrate?: boolean
  /** Where to begin: the cursor of an event, or from 10^15 up a time in microseconds since 1970. Without it, from now on. */
  cursor?: number
  signal?: AbortSignal
}

/** What became of a record that links. */
export interface RecordEvent {
  kind: 'record'
  origin: 'live' | 'replay'
  operation: 'create' | 'update' | 'delete'
  did: string
  collection: string
  rkey: string
  rev: string
  time: string
  /** The wanted links that are gone. */
  removed: Pair[]
  /** The wanted links that are new. */
  added: Pair[]
  /** With `hydrate`, where it is kept: of the record as it is when the event is sent. */
  cid?: string
  /** With `hydrate`, where it is kept. */
  value?: unknown
  /** Where to go on that has this event. */
  cursor: number
}

/** A change of an account's status: all of its links are gone, or back. */
export interface AccountEvent {
  kind: 'account'
  origin: 'live' | 'replay'
  account: { did: string; active: boolean; status: string }
  time: string
  cursor: number
}

export type StreamEvent = RecordEvent | AccountEvent

/** What a list is watched with. */
export interface WatchOptions {
  /** Only links by these accounts. */
  dids?: string[]
  /** Items of a page of the list: 1 to 1000, by default 100. */
  limit?: number
  signal?: AbortSignal
}

/** A change of a list that is watched: a record was there at the beginning, has come since, or has gone. */
export interface Change {
  kind: 'listed' | 'added' | 'removed'
  did: string
  collection: string
  rkey: string
  /** Of a record that was listed or added, RFC 3339. */
  time?: string
}

export interface ClientOptions {
  /**
   * The server is a Constellation, or has only its methods. Records have no times there, `counts` makes two requests for each
   * pair, and timelines, links of accounts and of records, streams and `status` need a weft.
   */
  constellation?: boolean
  /** In place of the global `fetch`. */
  fetch?: typeof fetch
}

type Query = Record<string, string | number | boolean | Date | string[] | undefined>

// The server shows every 20 seconds that it is there.
const silence = 60_000
// Waits between connections double from the one to the other, in milliseconds.
const leastWait = 500
const mostWait = 30_000

// What a server counts in a call, and the UTF-16 units of names that surely fit into the MiB of JSON that it reads.
const pairsInCall = 1000
const unitsInCall = 256 * 1024

/** How many pairs the next call has: one at least. */
function fitting(pairs: Pair[], from: number): number {
  let units = 0
  for (let n = 0; from + n < pairs.length; n++) {
    const pair = pairs[from + n]!
    units += pair.subject.length + pair.source.length
    if (n === pairsInCall || (n > 0 && units > unitsInCall)) return n
  }
  return pairs.length - from
}

/** Asks one server. */
export class Client {
  readonly #base: string
  readonly #fetch: typeof fetch
  readonly #plain: boolean // the server has only Constellation's methods

  /** @param base the server's URL, without a path */
  constructor(base: string, options: ClientOptions = {}) {
    this.#base = base.replace(/\/+$/, '')
    this.#plain = options.constellation ?? false
    this.#fetch = options.fetch ?? ((...args) => fetch(...args))
  }

  /** Counts the links to a subject from a source. */
  async count(subject: string, source: string, signal?: AbortSignal): Promise<number> {
    const a = await this.#get<{ total: number }>('blue.microcosm.links.getBacklinksCount', { subject, source }, signal)
    return a.total
  }

  /** Counts lists in the order of the pairs, 1,000 in a call. The counts of a call are of one moment. */
  async counts(pairs: Pair[], signal?: AbortSignal): Promise<Count[]> {
    const counts: Count[] = []
    if (this.#plain) {
      for (const p of pairs) {
        counts.push({ ...p, links: await this.count(p.subject, p.source, signal), dids: await this.countDids(p.subject, p.source, signal) })
      }
      return counts
    }
    for (let from = 0; from < pairs.length; ) {
      const part = pairs.slice(from, from + fitting(pairs, from))
      const a = await this.#ask<{ counts: Count[] }>('/xrpc/dev.weft.links.batchCounts', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ pairs: part }),
        ...(signal && { signal }),
      })
      counts.push(...a.counts)
      from += part.length
    }
    return counts
  }

  /** Counts the accounts that link to a subject from a source. */
  async countDids(subject: string, source: string, signal?: AbortSignal): Promise<number> {
    const colon = source.indexOf(':')
    const query = { target: subject, collection: source.slice(0, colon), path: '.' + source.slice(colon + 1).replace(/^\./, '') }
    const a = await this.#ask<{ total: number }>(`/links/count/distinct-dids?${encode(query)}`, signal ? { signal } : {})
    return a.total
  }

  /** All sources that link to a subject, with their counts, in the order of their names. */
  async sources(subject: string, signal?: AbortSignal): Promise<SourceTotal[]> {
    type All = { links: Record<string, Record<string, { records: number; distinct_dids: number }>>; cursor?: string }
    const totals: SourceTotal[] = []
    let cursor: string | undefined
    do {
      const page: All = await this.#ask(`/links/all?${encode({ target: subject, cursor })}`, signal ? { signal } : {})
      for (const [collection, paths] of Object.entries(page.links)) {
        for (const [path, n] of Object.entries(paths)) {
          totals.push({ source: `${collection}:${path.replace(/^\./, '')}`, links: n.records, dids: n.distinct_dids })
        }
      }
      cursor = page.cursor
    } while (cursor)
    return totals.sort((a, b) => (a.source < b.source ? -1 : 1))
  }

  /** A page of what else the records link to that link to a subject: from each of them, the links at another path. */
  async manyToManyPage(subject: string, source: string, pathToOther: string, options: ManyOptions = {}): Promise<Page<Other>> {
    const { dids, others, signal, ...rest } = options
    type Many = { items: { linkRecord: Other['record']; otherSubject: string }[]; cursor: string | null }
    const [a, seq] = await this.#getSeq<Many>('blue.microcosm.links.getManyToMany',
      { subject, source, pathToOther, linkDid: dids, otherSubject: others, ...rest }, signal)
    return { items: a.items.map((i) => ({ record: i.linkRecord, subject: i.otherSubject })), cursor: a.cursor, seq }
  }

  /** Walks through what else the records link to: of the items of a list, the accounts on it are at `subject`. */
  manyToMany(subject: string, source: string, pathToOther: string, options: ManyOptions = {}): AsyncGenerator<Other, void, undefined> {
    return walk(options.cursor, (cursor) => this.manyToManyPage(subject, source, pathToOther, { ...options, ...cursor }))
  }

  /** A page of the counts of `manyToMany` by other subject. */
  async manyToManyCountsPage(subject: string, source: string, pathToOther: string, options: ManyOptions = {}): Promise<Page<OtherCount>> {
    const { dids, others, signal, ...rest } = options
    type Counts = { counts_by_other_subject: { subject: string; total: number; distinct: number }[]; cursor: string | null }
    const [a, seq] = await this.#getSeq<Counts>('blue.microcosm.links.getManyToManyCounts',
      { subject, source, pathToOther, did: dids, otherSubject: others, ...rest }, signal)
    return { items: a.counts_by_other_subject.map((n) => ({ subject: n.subject, records: n.total, dids: n.distinct })), cursor: a.cursor, seq }
  }

  /** Walks through the counts of `manyToMany` by other subject. */
  manyToManyCounts(subject: string, source: string, pathToOther: string, options: ManyOptions = {}): AsyncGenerator<OtherCount, void, undefined> {
    return walk(options.cursor, (cursor) => this.manyToManyCountsPage(subject, source, pathToOther, { ...options, ...cursor }))
  }

  /** What a weft says of itself. */
  status(signal?: AbortSignal): Promise<Status> {
    return this.#ask('/status', { headers: { Accept: 'application/json' }, ...(signal && { signal }) })
  }

  /** A page of the records that link, newest first. */
  async backlinksPage(subject: string, source: string, options: BacklinksOptions = {}): Promise<TotalPage<LinkRecord>> {
    const { dids, signal, ...rest } = options
    if (this.#plain) refuseTimes(rest)
    const [a, seq] = await this.#getSeq<{ total: number; records: LinkRecord[]; cursor: string | null }>(
      `${this.#plain ? 'blue.microcosm' : 'dev.weft'}.links.getBacklinks`, { subject, source, did: dids, ...rest }, signal)
    const items = this.#plain ? a.records.map((r) => ({ ...r, time: '' })) : a.records
    return { total: a.total, items, cursor: a.cursor, seq }
  }

  /** Walks through all records that link, page by page. */
  backlinks(subject: string, source: string, options: BacklinksOptions = {}): AsyncGenerator<LinkRecord, void, undefined> {
    return walk(options.cursor, (cursor) => this.backlinksPage(subject, source, { ...options, ...cursor }))
  }

  /** A page of the accounts that link, newest first by the first link of each. */
  async didsPage(subject: string, source: string, options: ListOptions = {}): Promise<TotalPage<string>> {
    const { signal, ...rest } = options
    if (this.#plain) {
      refuseTimes(rest)
      const a = await this.#get<{ total: number; linking_dids: string[]; cursor: string | null }>(
        'blue.microcosm.links.getBacklinkDids', { subject, source, ...rest }, signal)
      return { total: a.total, items: a.linking_dids, cursor: a.cursor, seq: null }
    }
    const [a, seq] = await this.#getSeq<{ total: number; dids: string[]; cursor: string | null }>(
      'dev.weft.links.getBacklinkDids', { subject, source, ...rest }, signal)
    return { total: a.total, items: a.dids, cursor: a.cursor, seq }
  }

  /** Walks through all accounts that link. */
  dids(subject: string, source: string, options: ListOptions = {}): AsyncGenerator<string, void, undefined> {
    return walk(options.cursor, (cursor) => this.didsPage(subject, source, { ...options, ...cursor }))
  }

  /** A page of the links to an account and to any of its records, newest first. */
  async accountLinksPage(did: string, options: AccountOptions = {}): Promise<Page<AccountLink>> {
    const { sources, signal, ...rest } = options
    const [a, seq] = await this.#getSeq<{ links: AccountLink[]; cursor: string | null }>(
      'dev.weft.links.getAccountBacklinks', { did, source: sources, ...rest }, signal)
    return { items: a.links, cursor: a.cursor, seq }
  }

  /** Walks through all links to an account. */
  accountLinks(did: string, options: AccountOptions = {}): AsyncGenerator<AccountLink, void, undefined> {
    return walk(options.cursor, (cursor) => this.accountLinksPage(did, { ...options, ...cursor }))
  }

  /** Counts the links to an account by source, of all pages. */
  async accountCounts(did: string, signal?: AbortSignal): Promise<{ total: number; sources: { source: string; links: number }[] }> {
    type Counts = { total: number; sources: { source: string; links: number }[]; cursor: string | null }
    const all: { total: number; sources: { source: string; links: number }[] } = { total: 0, sources: [] }
    let cursor: string | undefined
    do {
      const page: Counts = await this.#get('dev.weft.links.getAccountCounts', { did, cursor }, signal)
      all.total = page.total
      all.sources.push(...page.sources)
      cursor = page.cursor ?? undefined
    } while (cursor !== undefined)
    return all
  }

  /** Lists what a record links to, and gives its content where the server keeps it. */
  async hydratedRecord(did: string, collection: string, rkey: string, signal?: AbortSignal): Promise<HydratedRecord> {
    return this.#get('dev.weft.links.getRecordLinks', { did, collection, rkey, hydrate: true }, signal)
  }

  /** Lists what a record links to: the way forward. */
  async recordLinks(did: string, collection: string, rkey: string, signal?: AbortSignal): Promise<Pair[]> {
    const a = await this.#get<{ links: Pair[] }>('dev.weft.links.getRecordLinks', { did, collection, rkey }, signal)
    return a.links
  }

  /** Counts the links to a subject by time: what a chart is drawn from. */
  async timeline(subject: string, sources: string[], options: TimelineOptions = {}): Promise<Timeline> {
    const { signal, ...rest } = options
    return this.#get('dev.weft.links.getTimeline', { subject, source: sources, ...rest }, signal)
  }

  /** Lists the subjects with the most links of the last hours. */
  async top(options: TopOptions = {}): Promise<Top> {
    const { signal, ...rest } = options
    return this.#get('dev.weft.links.getTop', rest, signal)
  }

  /**
   * Follows the stream. It connects again when the connection breaks, and goes on where it was: nothing is lost and nothing
   * comes twice. It ends when the signal aborts, and throws a WeftError when the server refuses it: `OutdatedCursor` says that
   * what came meanwhile is gone.
   */
  async *events(options: StreamOptions = {}): AsyncGenerator<StreamEvent, void, undefined> {
    const { signal } = options
    let cursor = options.cursor
    let wait = leastWait
    while (!signal?.aborted) {
      const connection = new AbortController()
      const stop = () => connection.abort()
      signal?.addEventListener('abort', stop)
      let alive = setTimeout(stop, silence)
      try {
        const query = {
          wantedSubjects: options.subjects, wantedSubjectPrefixes: options.subjectPrefixes, wantedSubjectDids: options.subjectDids,
          wantedSources: options.sources, wantedCollections: options.collections, wantedActors: options.actors, cursor, accounts: options.accounts,
          hydrate: options.hydrate,
        }
        const res = await this.#fetch(`${this.#base}/events?${encode(query)}`, { headers: { Accept: 'text/event-stream' }, signal: connection.signal })
        if (!res.ok || !res.body) throw await refusal(res)
        for await (const block of blocks(res.body)) {
          clearTimeout(alive)
          alive = setTimeout(stop, silence)
          if (block.data === '') {
            if (block.id !== '') cursor = Number(block.id)
            continue
          }
          const event = JSON.parse(block.data) as StreamEvent
          if (event.kind !== 'record' && event.kind !== 'account') continue // the end, or what is not known yet
          cursor = event.cursor
          wait = leastWait
          yield event
        }
      } catch (e) {
        if (e instanceof WeftError && e.status >= 400 && e.status < 500 && e.status !== 429) throw e
      } finally {
        clearTimeout(alive)
        signal?.removeEventListener('abort', stop)
        connection.abort()
      }
      if (signal?.aborted) return
      await sleep(wait / 2 + (Math.random() * wait) / 2, signal)
      wait = Math.min(2 * wait, mostWait)
    }
  }

  /**
   * Gives the records of a list, and then its changes, until the signal aborts: each record once when it comes and once when it
   * goes, without a gap between the list and the changes. Those of an account that becomes inactive go, and come again with it.
   * If the log no longer has the changes that a broken connection missed, it lists the records again and gives the differences.
   * It keeps the keys of the list in memory. It throws a WeftError when the server refuses it, or the first error of a server that
   * has not answered yet. It needs a weft.
   */
  async *watch(subject: string, source: string, options: WatchOptions = {}): AsyncGenerator<Change, void, undefined> {
    const { signal } = options
    const list = new WatchedList(this, subject, source, options)
    let wait = leastWait
    while (!signal?.aborted) {
      const began = Date.now()
      try {
        yield* list.follow()
      } catch (e) {
        if (signal?.aborted) return
        if (!list.isKnown || isLast(e)) throw e
      }
      if (Date.now() - began > mostWait) wait = leastWait
      await sleep(wait, signal)
      wait = Math.min(2 * wait, mostWait)
    }
  }

  async #get<T>(method: string, query: Query, signal?: AbortSignal): Promise<T> {
    return (await this.#getSeq<T>(method, query, signal))[0]
  }

  async #getSeq<T>(method: string, query: Query, signal?: AbortSignal): Promise<[T, number | null]> {
    const res = await this.#send(`/xrpc/${method}?${encode(query)}`, signal ? { signal } : {})
    const seq = res.headers.get('Weft-Seq')
    return [(await res.json()) as T, seq === null ? null : Number(seq)]
  }

  async #ask<T>(path: string, init: RequestInit): Promise<T> {
    return (await (await this.#send(path, init)).json()) as T
  }

  async #send(path: string, init: RequestInit): Promise<Response> {
    const res = await this.#fetch(this.#base + path, init)
    if (!res.ok) throw await refusal(res)
    return res
  }
}

/** The records of a list that is watched. */
class WatchedList {
  /** Whether the list was not read to its end yet. */
  isFirst = true
  /** Whether the server has answered: it is a weft, and what fails later is tried again. */
  isKnown = false
  /** The collections of the records that are there, by account and record key. */
  readonly #have = new Map<string, Map<string, string>>()

  constructor(
    readonly client: Client,
    readonly subject: string,
    readonly source: string,
    readonly options: WatchOptions,
  ) {}

  /** Lists the records, and follows their changes until an error. */
  async *follow(): AsyncGenerator<Change, void, undefined> {
    const { dids, signal } = this.options
    const seq = yield* this.#list()
    this.isFirst = false
    const filter: StreamOptions = { subjects: [this.subject], sources: [this.source], accounts: true, cursor: seq }
    for await (const e of this.client.events({ ...filter, ...(dids && { actors: dids }), ...(signal && { signal }) })) {
      if (e.kind === 'account') {
        yield* this.#account(e)
        continue
      }
      if (e.removed.length > 0) yield* this.#remove(e.did, e.rkey)
      if (e.added.length === 0) continue
      // An account without records may be inactive, also since before the watch. What is listed of it is true now, and later
      // events change it.
      if (this.#have.has(e.did)) yield* this.#add(e)
      else yield* this.#list(e.did, e.cursor)
    }
  }

  /**
   * Lists the records, or those of one account, and returns up to where all pages have the log. Records that are not listed are
   * gone. What changes between two pages comes as events too, and a record that is there is not added again. A page that does not
   * have the log up to `least` is an error: another follower sends it, or a cache, and the watch begins again.
   */
  async *#list(did?: string, least = 0): AsyncGenerator<Change, number, undefined> {
    const gone = new Map<string, Set<string>>()
    for (const [account, records] of this.#have) if (did === undefined || account === did) gone.set(account, new Set(records.keys()))
    const { limit, signal } = this.options
    const dids = did === undefined ? this.options.dids : [did]
    let seq = Infinity
    let cursor: string | undefined
    do {
      const page = await this.client.backlinksPage(this.subject, this.source,
        { ...(dids && { dids }), ...(limit !== undefined && { limit }), ...(cursor !== undefined && { cursor }), ...(signal && { signal }) })
      if (page.seq === null) throw new Error('this server does not send Weft-Seq: it cannot be watched')
      this.isKnown = true
      if (page.seq < least) throw new Error('a list is older than the event before it')
      seq = Math.min(seq, page.seq) // a later page may come from a follower that is behind
      cursor = page.cursor ?? undefined
      for (const r of page.items) {
        gone.get(r.did)?.delete(r.rkey)
        yield* this.#add(r)
      }
    } while (cursor !== undefined)
    for (const [account, rkeys] of gone) for (const rkey of rkeys) yield* this.#remove(account, rkey)
    return seq
  }

  /** Follows a change of an account's status: its records go, or come back. */
  async *#account({ account: { did, active }, cursor }: AccountEvent): AsyncGenerator<Change, void, undefined> {
    if (active) {
      yield* this.#list(did, cursor)
      return
    }
    for (const rkey of [...(this.#have.get(did)?.keys() ?? [])]) yield* this.#remove(did, rkey)
  }

  *#add(r: { did: string; collection: string; rkey: string; time: string }): Generator<Change, void, undefined> {
    const records = this.#have.get(r.did) ?? new Map<string, string>()
    if (records.has(r.rkey)) return
    records.set(r.rkey, r.collection)
    this.#have.set(r.did, records)
    yield { kind: this.isFirst ? 'listed' : 'added', did: r.did, collection: r.collection, rkey: r.rkey, time: r.time }
  }

  *#remove(did: string, rkey: string): Generator<Change, void, undefined> {
    const records = this.#have.get(did)
    const collection = records?.get(rkey)
    if (!records || collection === undefined) return
    records.delete(rkey)
    if (records.size === 0) this.#have.delete(did)
    yield { kind: 'removed', did, collection, rkey }
  }
}

/** Whether an error is the server's last word; a stream whose cursor is gone begins again with the list. */
function isLast(e: unknown): boolean {
  return e instanceof WeftError && e.status >= 400 && e.status < 500 && e.status !== 429 &&
    e.error !== 'OutdatedCursor' && e.error !== 'FutureCursor'
}

async function refusal(res: Response): Promise<WeftError> {
  const text = await res.text()
  try {
    const body = JSON.parse(text) as { error?: string; message?: string }
    return new WeftError(res.status, body.error ?? res.statusText, body.message ?? text)
  } catch {
    return new WeftError(res.status, res.statusText, text)
  }
}

function refuseTimes(options: { since?: unknown; until?: unknown; hydrate?: boolean }): void {
  if (options.since !== undefined || options.until !== undefined || options.hydrate) {
    throw new Error('Constellation has no since, until and hydrate')
  }
}

function encode(query: Query): string {
  const out = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === false) continue
    for (const v of Array.isArray(value) ? value : [value]) out.append(name, v instanceof Date ? v.toISOString() : String(v))
  }
  return out.toString()
}

async function* walk<T>(first: string | undefined, page: (cursor: { cursor?: string }) => Promise<Page<T>>): AsyncGenerator<T, void, undefined> {
  let cursor: string | null | undefined = first
  do {
    const p: Page<T> = await page(cursor ? { cursor } : {})
    yield* p.items
    cursor = p.cursor
  } while (cursor)
}

/** Cuts a body into its events. One that is cut off in the middle is none. */
async function* blocks(body: ReadableStream<Uint8Array>): AsyncGenerator<{ id: string; data: string }, void, undefined> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let buffer = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      buffer += decoder.decode(value, { stream: true })
      const parts = buffer.split('\n\n')
      buffer = parts.pop() ?? ''
      for (const part of parts) {
        const block = { id: '', data: '' }
        for (const line of part.split('\n')) {
          if (line.startsWith('id: ')) block.id = line.slice(4)
          if (line.startsWith('data: ')) block.data = line.slice(6)
        }
        yield block
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined)
  }
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done)
  })
}
