/**
 * Queries the links in a weft and follows its stream. It has no dependencies and requires `fetch`, which browsers and Node 18 have.
 * With the option `constellation`, it queries a Constellation.
 */

/** A refusal of the server. */
export class WeftError extends Error {
  constructor(
    /** The status of HTTP. */
    readonly status: number,
    /** For example `InvalidRequest`. */
    readonly error: string,
    message: string,
  ) {
    super(message)
    this.name = 'WeftError'
  }
}

/** A linking record. */
export interface LinkRecord {
  did: string
  collection: string
  rkey: string
  /** The time that orders lists, RFC 3339; empty from a Constellation. */
  time: string
  /** With `hydrate`, if the server stores it. */
  cid?: string
  /** With `hydrate`, if the server stores it. */
  value?: unknown
}

/** A link to an account or to one of its records. */
export interface AccountLink extends LinkRecord {
  source: string
  subject: string
}

/** Options of all lists. */
export interface ListOptions {
  /** Only links of this time or later: a Date or RFC 3339. */
  since?: Date | string
  /** Only links before this time. */
  until?: Date | string
  /** Most items of a page: 1 to 1000, by default 100. */
  limit?: number
  /** The cursor of the previous page. */
  cursor?: string
  signal?: AbortSignal
}

export interface BacklinksOptions extends ListOptions {
  /** Only links by these accounts. */
  dids?: string[]
  /** Oldest first. */
  reverse?: boolean
  /** Adds the records' content, if the server stores it; a page then has at most 100 records. */
  hydrate?: boolean
}

export interface AccountOptions extends ListOptions {
  /** Only links from these sources. */
  sources?: string[]
  hydrate?: boolean
}

export interface Page<T> {
  items: T[]
  /** The cursor of the next page; null on the last page. */
  cursor: string | null
  /** The log row of the page: the cursor of `events` that continues the page. null: unknown. */
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

/** The number of links to a subject from one source, and of their accounts. */
export interface SourceTotal {
  source: string
  links: number
  dids: number
}

/** The links of a record, and its content. */
export interface HydratedRecord {
  /** Empty for an unknown record, and for a record of an inactive account. */
  links: Pair[]
  /** If the server stores it. */
  cid?: string
  /** If the server stores it. */
  value?: unknown
}

/** Options of other links in the records that link to a subject. */
export interface ManyOptions {
  /** Only records of these accounts. */
  dids?: string[]
  /** Only these other subjects. */
  others?: string[]
  /** Most items of a page: 1 to 1000, by default 100. */
  limit?: number
  /** The cursor of the previous page. */
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

/** The status of a weft; docs/api.md describes the members. */
export type Status = { ready: boolean; version: string; index: { links: number; log_seq: number } } & Record<string, unknown>

export interface TimelineOptions {
  /** Only links of this time or later: a Date or RFC 3339. */
  since?: Date | string
  /** Only links before this time. */
  until?: Date | string
  /** Most spans: 1 to 200, by default 60. */
  spans?: number
  signal?: AbortSignal
}

/** The number of links to a subject by time, in spans of equal length. */
export interface Timeline {
  /** The start of the first span, RFC 3339; null without links. */
  from: string | null
  /** The length of each span. */
  seconds: number
  /** `counts` has the links of each span, oldest first, `older` those before the first span, `total` the sum of both. */
  sources: { source: string; total: number; older: number; counts: number[] }[]
}

export interface TopOptions {
  /** The kind of link, `collection:path`; without it, the one with the most links. */
  source?: string
  /** The length of the span that ends now, in hours: 1 to 24, by default 24. */
  hours?: number
  /** Most subjects: 1 to 50, by default 20. */
  limit?: number
  /** Adds the content of subjects that are records, if the server stores it. */
  hydrate?: boolean
  signal?: AbortSignal
}

/** The subjects with the most links from a source. */
export interface Top {
  /** Links at or after this time are counted, RFC 3339. */
  since: string
  /** The time up to which the server has counted links to choose the subjects. */
  until: string
  /** Empty if there are no links. */
  source: string
  subjects: { subject: string; links: number; cid?: string; value?: unknown }[]
  /** The most links of a subject that was not counted. */
  bound: number
  /** The sources with links in this time, those with the most first. */
  sources: string[]
}

/** Selects events; without any option, all. */
export interface StreamOptions {
  subjects?: string[]
  subjectPrefixes?: string[]
  subjectDids?: string[]
  sources?: string[]
  collections?: string[]
  actors?: string[]
  /** Also changes of the status of all accounts, or of all `actors`. */
  accounts?: boolean
  /** Adds the content of records, and updates that change only the content. */
  hydrate?: boolean
  /** Where to begin: the cursor of an event, or from 10^15 up a time in microseconds since 1970. Without it, from now on. */
  cursor?: number
  signal?: AbortSignal
}

/** A change of a linking record. */
export interface RecordEvent {
  kind: 'record'
  origin: 'live' | 'replay'
  operation: 'create' | 'update' | 'delete'
  did: string
  collection: string
  rkey: string
  rev: string
  time: string
  /** The removed links that match the filter. */
  removed: Pair[]
  /** The added links that match the filter. */
  added: Pair[]
  /** With `hydrate`, if the server stores it, as of the time of sending. */
  cid?: string
  /** With `hydrate`, if the server stores it. */
  value?: unknown
  /** The cursor that resumes after this event. */
  cursor: number
}

/** A change of an account's status: all of its links are removed, or added again. */
export interface AccountEvent {
  kind: 'account'
  origin: 'live' | 'replay'
  account: { did: string; active: boolean; status: string }
  time: string
  cursor: number
}

export type StreamEvent = RecordEvent | AccountEvent

/** Options of `watch`. */
export interface WatchOptions {
  /** Only links by these accounts. */
  dids?: string[]
  /** Most items of a page of the list: 1 to 1000, by default 100. */
  limit?: number
  signal?: AbortSignal
}

/** A change of a watched list: a record was there at the start, was added since, or was removed. */
export interface Change {
  kind: 'listed' | 'added' | 'removed'
  did: string
  collection: string
  rkey: string
  /** Of a listed or added record, RFC 3339. */
  time?: string
}

export interface ClientOptions {
  /**
   * The server is a Constellation, or has only its methods. Records have no times there, `counts` makes two requests for each
   * pair, and timelines, links of accounts and of records, streams and `status` require a weft.
   */
  constellation?: boolean
  /** Replaces the global `fetch`. */
  fetch?: typeof fetch
}

type Query = Record<string, string | number | boolean | Date | string[] | undefined>

// The server sends a heartbeat every 20 seconds.
const silence = 60_000
// The wait before a reconnect doubles from the first to the second, in milliseconds.
const leastWait = 500
const mostWait = 30_000

// The pairs that a server accepts in a call, and the UTF-16 units of names that always fit into its limit of 1 MiB of JSON.
const pairsInCall = 1000
const unitsInCall = 256 * 1024

/** The number of pairs in the next call, at least one. */
function fitting(pairs: Pair[], from: number): number {
  let units = 0
  for (let n = 0; from + n < pairs.length; n++) {
    const pair = pairs[from + n]!
    units += pair.subject.length + pair.source.length
    if (n === pairsInCall || (n > 0 && units > unitsInCall)) return n
  }
  return pairs.length - from
}

/** A client of one server. */
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

  /** Counts lists in the order of the pairs, 1,000 per call. The counts of a call are from one snapshot. */
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

  /** Returns all sources that link to a subject, with their counts, in the order of their names. */
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

  /** Returns a page of other links, at another path, in the records that link to a subject. */
  async manyToManyPage(subject: string, source: string, pathToOther: string, options: ManyOptions = {}): Promise<Page<Other>> {
    const { dids, others, signal, ...rest } = options
    type Many = { items: { linkRecord: Other['record']; otherSubject: string }[]; cursor: string | null }
    const [a, seq] = await this.#getSeq<Many>('blue.microcosm.links.getManyToMany',
      { subject, source, pathToOther, linkDid: dids, otherSubject: others, ...rest }, signal)
    return { items: a.items.map((i) => ({ record: i.linkRecord, subject: i.otherSubject })), cursor: a.cursor, seq }
  }

  /** Iterates over other links in the records that link to a subject: for list items of a list, `subject` has its accounts. */
  manyToMany(subject: string, source: string, pathToOther: string, options: ManyOptions = {}): AsyncGenerator<Other, void, undefined> {
    return walk(options.cursor, (cursor) => this.manyToManyPage(subject, source, pathToOther, { ...options, ...cursor }))
  }

  /** Returns a page of the counts of `manyToMany` by other subject. */
  async manyToManyCountsPage(subject: string, source: string, pathToOther: string, options: ManyOptions = {}): Promise<Page<OtherCount>> {
    const { dids, others, signal, ...rest } = options
    type Counts = { counts_by_other_subject: { subject: string; total: number; distinct: number }[]; cursor: string | null }
    const [a, seq] = await this.#getSeq<Counts>('blue.microcosm.links.getManyToManyCounts',
      { subject, source, pathToOther, did: dids, otherSubject: others, ...rest }, signal)
    return { items: a.counts_by_other_subject.map((n) => ({ subject: n.subject, records: n.total, dids: n.distinct })), cursor: a.cursor, seq }
  }

  /** Iterates over the counts of `manyToMany` by other subject. */
  manyToManyCounts(subject: string, source: string, pathToOther: string, options: ManyOptions = {}): AsyncGenerator<OtherCount, void, undefined> {
    return walk(options.cursor, (cursor) => this.manyToManyCountsPage(subject, source, pathToOther, { ...options, ...cursor }))
  }

  /** Returns the status of a weft. */
  status(signal?: AbortSignal): Promise<Status> {
    return this.#ask('/status', { headers: { Accept: 'application/json' }, ...(signal && { signal }) })
  }

  /** Returns a page of the linking records, newest first. */
  async backlinksPage(subject: string, source: string, options: BacklinksOptions = {}): Promise<TotalPage<LinkRecord>> {
    const { dids, signal, ...rest } = options
    if (this.#plain) refuseTimes(rest)
    const [a, seq] = await this.#getSeq<{ total: number; records: LinkRecord[]; cursor: string | null }>(
      `${this.#plain ? 'blue.microcosm' : 'dev.weft'}.links.getBacklinks`, { subject, source, did: dids, ...rest }, signal)
    const items = this.#plain ? a.records.map((r) => ({ ...r, time: '' })) : a.records
    return { total: a.total, items, cursor: a.cursor, seq }
  }

  /** Iterates over all linking records, page by page. */
  backlinks(subject: string, source: string, options: BacklinksOptions = {}): AsyncGenerator<LinkRecord, void, undefined> {
    return walk(options.cursor, (cursor) => this.backlinksPage(subject, source, { ...options, ...cursor }))
  }

  /** Returns a page of the linking accounts, in the order of the first link of each, newest first. */
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

  /** Iterates over all linking accounts. */
  dids(subject: string, source: string, options: ListOptions = {}): AsyncGenerator<string, void, undefined> {
    return walk(options.cursor, (cursor) => this.didsPage(subject, source, { ...options, ...cursor }))
  }

  /** Returns a page of the links to an account and to its records, newest first. */
  async accountLinksPage(did: string, options: AccountOptions = {}): Promise<Page<AccountLink>> {
    const { sources, signal, ...rest } = options
    const [a, seq] = await this.#getSeq<{ links: AccountLink[]; cursor: string | null }>(
      'dev.weft.links.getAccountBacklinks', { did, source: sources, ...rest }, signal)
    return { items: a.links, cursor: a.cursor, seq }
  }

  /** Iterates over all links to an account. */
  accountLinks(did: string, options: AccountOptions = {}): AsyncGenerator<AccountLink, void, undefined> {
    return walk(options.cursor, (cursor) => this.accountLinksPage(did, { ...options, ...cursor }))
  }

  /** Returns the number of links to an account by source. It reads all pages. */
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

  /** Returns the links of a record, and its content if the server stores it. */
  async hydratedRecord(did: string, collection: string, rkey: string, signal?: AbortSignal): Promise<HydratedRecord> {
    return this.#get('dev.weft.links.getRecordLinks', { did, collection, rkey, hydrate: true }, signal)
  }

  /** Returns the links of a record. */
  async recordLinks(did: string, collection: string, rkey: string, signal?: AbortSignal): Promise<Pair[]> {
    const a = await this.#get<{ links: Pair[] }>('dev.weft.links.getRecordLinks', { did, collection, rkey }, signal)
    return a.links
  }

  /** Counts the links to a subject by time, for charts. */
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
   * Follows the stream. It reconnects when the connection breaks, and resumes: no event is lost
   * or repeated. It ends when the signal aborts, and throws a WeftError when the server refuses it: `OutdatedCursor` means that
   * the log no longer has the next events.
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
          if (event.kind !== 'record' && event.kind !== 'account') continue // the end, or a kind unknown to this version
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
   * Yields the records of a list, and then its changes, until the signal aborts: each record once when it is added and once when
   * it is removed, without a gap between the list and the changes. The records of an account that becomes inactive are removed, and
   * added again when it becomes active. If the log no longer has the changes that a broken connection missed, it lists the records
   * again and yields the differences. It keeps the keys of the list in memory. It throws a WeftError when the server refuses it, or
   * the first error of a server that has not answered yet. It requires a weft.
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

/** The state of a watched list. */
class WatchedList {
  /** The list is not yet completely read. */
  isFirst = true
  /** The server has answered: it is a weft, and later failures are retried. */
  isKnown = false
  /** The collections of the records of the list, by account and record key. */
  readonly #have = new Map<string, Map<string, string>>()

  constructor(
    readonly client: Client,
    readonly subject: string,
    readonly source: string,
    readonly options: WatchOptions,
  ) {}

  /** Lists the records and follows their changes until an error. */
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
      // An account without records may be inactive, perhaps since before the watch. Its list is current, and later
      // events change it.
      if (this.#have.has(e.did)) yield* this.#add(e)
      else yield* this.#list(e.did, e.cursor)
    }
  }

  /**
   * Lists the records, or those of one account, and returns the log row up to which all pages are complete. Records that are not
   * listed are removed. Changes between two pages are events too, and an existing record is not added again. A page that does not
   * include the log up to `least` is an error: another follower or a cache sent it, and the watch restarts.
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

  /** Applies a change of an account's status: its records are removed or added. */
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

/** Reports whether an error is final; a stream whose cursor the log no longer has restarts with the list. */
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

/** Splits a body into its events, and drops an incomplete last one. */
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
