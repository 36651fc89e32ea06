/**
 * Queries the links in a weft and follows its stream. It has no dependencies and requires `fetch`, which browsers and Node 18 have.
 * With the option `constellation`, it queries a Constellation.
 */
/** A refusal of the server. */
export class WeftError extends Error {
    status;
    error;
    constructor(
    /** The status of HTTP. */
    status, 
    /** For example `InvalidRequest`. */
    error, message) {
        super(message);
        this.status = status;
        this.error = error;
        this.name = 'WeftError';
    }
}
// The server sends a heartbeat every 20 seconds.
const silence = 60_000;
// The wait before a reconnect doubles from the first to the second, in milliseconds.
const leastWait = 500;
const mostWait = 30_000;
// The pairs that a server accepts in a call, and the UTF-16 units of names that always fit into its limit of 1 MiB of JSON.
const pairsInCall = 1000;
const unitsInCall = 256 * 1024;
/** The number of pairs in the next call, at least one. */
function fitting(pairs, from) {
    let units = 0;
    for (let n = 0; from + n < pairs.length; n++) {
        const pair = pairs[from + n];
        units += pair.subject.length + pair.source.length;
        if (n === pairsInCall || (n > 0 && units > unitsInCall))
            return n;
    }
    return pairs.length - from;
}
/** A client of one server. */
export class Client {
    #base;
    #fetch;
    #plain; // the server has only Constellation's methods
    /** @param base the server's URL, without a path */
    constructor(base, options = {}) {
        this.#base = base.replace(/\/+$/, '');
        this.#plain = options.constellation ?? false;
        this.#fetch = options.fetch ?? ((...args) => fetch(...args));
    }
    /** Counts the links to a subject from a source. */
    async count(subject, source, signal) {
        const a = await this.#get('blue.microcosm.links.getBacklinksCount', { subject, source }, signal);
        return a.total;
    }
    /** Counts lists in the order of the pairs, 1,000 per call. The counts of a call are from one snapshot. */
    async counts(pairs, signal) {
        const counts = [];
        if (this.#plain) {
            for (const p of pairs) {
                counts.push({ ...p, links: await this.count(p.subject, p.source, signal), dids: await this.countDids(p.subject, p.source, signal) });
            }
            return counts;
        }
        for (let from = 0; from < pairs.length;) {
            const part = pairs.slice(from, from + fitting(pairs, from));
            const a = await this.#ask('/xrpc/dev.weft.links.batchCounts', {
                method: 'POST',
                headers: { 'Content-Type': 'application/json' },
                body: JSON.stringify({ pairs: part }),
                ...(signal && { signal }),
            });
            counts.push(...a.counts);
            from += part.length;
        }
        return counts;
    }
    /** Counts the accounts that link to a subject from a source. */
    async countDids(subject, source, signal) {
        const colon = source.indexOf(':');
        const query = { target: subject, collection: source.slice(0, colon), path: '.' + source.slice(colon + 1).replace(/^\./, '') };
        const a = await this.#ask(`/links/count/distinct-dids?${encode(query)}`, signal ? { signal } : {});
        return a.total;
    }
    /** Returns all sources that link to a subject, with their counts, in the order of their names. */
    async sources(subject, signal) {
        const totals = [];
        let cursor;
        do {
            const page = await this.#ask(`/links/all?${encode({ target: subject, cursor })}`, signal ? { signal } : {});
            for (const [collection, paths] of Object.entries(page.links)) {
                for (const [path, n] of Object.entries(paths)) {
                    totals.push({ source: `${collection}:${path.replace(/^\./, '')}`, links: n.records, dids: n.distinct_dids });
                }
            }
            cursor = page.cursor;
        } while (cursor);
        return totals.sort((a, b) => (a.source < b.source ? -1 : 1));
    }
    /** Returns a page of other links, at another path, in the records that link to a subject. */
    async manyToManyPage(subject, source, pathToOther, options = {}) {
        const { dids, others, signal, ...rest } = options;
        const [a, seq] = await this.#getSeq('blue.microcosm.links.getManyToMany', { subject, source, pathToOther, linkDid: dids, otherSubject: others, ...rest }, signal);
        return { items: a.items.map((i) => ({ record: i.linkRecord, subject: i.otherSubject })), cursor: a.cursor, seq };
    }
    /** Iterates over other links in the records that link to a subject: for list items of a list, `subject` has its accounts. */
    manyToMany(subject, source, pathToOther, options = {}) {
        return walk(options.cursor, (cursor) => this.manyToManyPage(subject, source, pathToOther, { ...options, ...cursor }));
    }
    /** Returns a page of the counts of `manyToMany` by other subject. */
    async manyToManyCountsPage(subject, source, pathToOther, options = {}) {
        const { dids, others, signal, ...rest } = options;
        const [a, seq] = await this.#getSeq('blue.microcosm.links.getManyToManyCounts', { subject, source, pathToOther, did: dids, otherSubject: others, ...rest }, signal);
        return { items: a.counts_by_other_subject.map((n) => ({ subject: n.subject, records: n.total, dids: n.distinct })), cursor: a.cursor, seq };
    }
    /** Iterates over the counts of `manyToMany` by other subject. */
    manyToManyCounts(subject, source, pathToOther, options = {}) {
        return walk(options.cursor, (cursor) => this.manyToManyCountsPage(subject, source, pathToOther, { ...options, ...cursor }));
    }
    /** Returns the status of a weft. */
    status(signal) {
        return this.#ask('/status', { headers: { Accept: 'application/json' }, ...(signal && { signal }) });
    }
    /** Returns a page of the linking records, newest first. */
    async backlinksPage(subject, source, options = {}) {
        const { dids, signal, ...rest } = options;
        if (this.#plain)
            refuseTimes(rest);
        const [a, seq] = await this.#getSeq(`${this.#plain ? 'blue.microcosm' : 'dev.weft'}.links.getBacklinks`, { subject, source, did: dids, ...rest }, signal);
        const items = this.#plain ? a.records.map((r) => ({ ...r, time: '' })) : a.records;
        return { total: a.total, items, cursor: a.cursor, seq };
    }
    /** Iterates over all linking records, page by page. */
    backlinks(subject, source, options = {}) {
        return walk(options.cursor, (cursor) => this.backlinksPage(subject, source, { ...options, ...cursor }));
    }
    /** Returns a page of the linking accounts, in the order of the first link of each, newest first. */
    async didsPage(subject, source, options = {}) {
        const { signal, ...rest } = options;
        if (this.#plain) {
            refuseTimes(rest);
            const a = await this.#get('blue.microcosm.links.getBacklinkDids', { subject, source, ...rest }, signal);
            return { total: a.total, items: a.linking_dids, cursor: a.cursor, seq: null };
        }
        const [a, seq] = await this.#getSeq('dev.weft.links.getBacklinkDids', { subject, source, ...rest }, signal);
        return { total: a.total, items: a.dids, cursor: a.cursor, seq };
    }
    /** Iterates over all linking accounts. */
    dids(subject, source, options = {}) {
        return walk(options.cursor, (cursor) => this.didsPage(subject, source, { ...options, ...cursor }));
    }
    /** Returns a page of the links to an account and to its records, newest first. */
    async accountLinksPage(did, options = {}) {
        const { sources, signal, ...rest } = options;
        const [a, seq] = await this.#getSeq('dev.weft.links.getAccountBacklinks', { did, source: sources, ...rest }, signal);
        return { items: a.links, cursor: a.cursor, seq };
    }
    /** Iterates over all links to an account. */
    accountLinks(did, options = {}) {
        return walk(options.cursor, (cursor) => this.accountLinksPage(did, { ...options, ...cursor }));
    }
    /** Returns the number of links to an account by source. It reads all pages. */
    async accountCounts(did, signal) {
        const all = { total: 0, sources: [] };
        let cursor;
        do {
            const page = await this.#get('dev.weft.links.getAccountCounts', { did, cursor }, signal);
            all.total = page.total;
            all.sources.push(...page.sources);
            cursor = page.cursor ?? undefined;
        } while (cursor !== undefined);
        return all;
    }
    /** Returns the links of a record, and its content if the server stores it. */
    async hydratedRecord(did, collection, rkey, signal) {
        return this.#get('dev.weft.links.getRecordLinks', { did, collection, rkey, hydrate: true }, signal);
    }
    /** Returns the links of a record. */
    async recordLinks(did, collection, rkey, signal) {
        const a = await this.#get('dev.weft.links.getRecordLinks', { did, collection, rkey }, signal);
        return a.links;
    }
    /** Counts the links to a subject by time, for charts. */
    async timeline(subject, sources, options = {}) {
        const { signal, ...rest } = options;
        return this.#get('dev.weft.links.getTimeline', { subject, source: sources, ...rest }, signal);
    }
    /** Lists the subjects with the most links of the last hours. */
    async top(options = {}) {
        const { signal, ...rest } = options;
        return this.#get('dev.weft.links.getTop', rest, signal);
    }
    /**
     * Follows the stream. It reconnects when the connection breaks, and resumes: no event is lost
     * or repeated. It ends when the signal aborts, and throws a WeftError when the server refuses it: `OutdatedCursor` means that
     * the log no longer has the next events.
     */
    async *events(options = {}) {
        const { signal } = options;
        let cursor = options.cursor;
        let wait = leastWait;
        while (!signal?.aborted) {
            const connection = new AbortController();
            const stop = () => connection.abort();
            signal?.addEventListener('abort', stop);
            let alive = setTimeout(stop, silence);
            try {
                const query = {
                    wantedSubjects: options.subjects, wantedSubjectPrefixes: options.subjectPrefixes, wantedSubjectDids: options.subjectDids,
                    wantedSources: options.sources, wantedCollections: options.collections, wantedActors: options.actors, cursor, accounts: options.accounts,
                    hydrate: options.hydrate,
                };
                const res = await this.#fetch(`${this.#base}/events?${encode(query)}`, { headers: { Accept: 'text/event-stream' }, signal: connection.signal });
                if (!res.ok || !res.body)
                    throw await refusal(res);
                for await (const block of blocks(res.body)) {
                    clearTimeout(alive);
                    alive = setTimeout(stop, silence);
                    if (block.data === '') {
                        if (block.id !== '')
                            cursor = Number(block.id);
                        continue;
                    }
                    const event = JSON.parse(block.data);
                    if (event.kind !== 'record' && event.kind !== 'account')
                        continue; // the end, or a kind unknown to this version
                    cursor = event.cursor;
                    wait = leastWait;
                    yield event;
                }
            }
            catch (e) {
                if (e instanceof WeftError && e.status >= 400 && e.status < 500 && e.status !== 429)
                    throw e;
            }
            finally {
                clearTimeout(alive);
                signal?.removeEventListener('abort', stop);
                connection.abort();
            }
            if (signal?.aborted)
                return;
            await sleep(wait / 2 + (Math.random() * wait) / 2, signal);
            wait = Math.min(2 * wait, mostWait);
        }
    }
    /**
     * Yields the records of a list, and then its changes, until the signal aborts: each record once when it is added and once when
     * it is removed, without a gap between the list and the changes. The records of an account that becomes inactive are removed, and
     * added again when it becomes active. If the log no longer has the changes that a broken connection missed, it lists the records
     * again and yields the differences. It keeps the keys of the list in memory. It throws a WeftError when the server refuses it, or
     * the first error of a server that has not answered yet. It requires a weft.
     */
    async *watch(subject, source, options = {}) {
        const { signal } = options;
        const list = new WatchedList(this, subject, source, options);
        let wait = leastWait;
        while (!signal?.aborted) {
            const began = Date.now();
            try {
                yield* list.follow();
            }
            catch (e) {
                if (signal?.aborted)
                    return;
                if (!list.isKnown || isLast(e))
                    throw e;
            }
            if (Date.now() - began > mostWait)
                wait = leastWait;
            await sleep(wait, signal);
            wait = Math.min(2 * wait, mostWait);
        }
    }
    async #get(method, query, signal) {
        return (await this.#getSeq(method, query, signal))[0];
    }
    async #getSeq(method, query, signal) {
        const res = await this.#send(`/xrpc/${method}?${encode(query)}`, signal ? { signal } : {});
        const seq = res.headers.get('Weft-Seq');
        return [(await res.json()), seq === null ? null : Number(seq)];
    }
    async #ask(path, init) {
        return (await (await this.#send(path, init)).json());
    }
    async #send(path, init) {
        const res = await this.#fetch(this.#base + path, init);
        if (!res.ok)
            throw await refusal(res);
        return res;
    }
}
/** The state of a watched list. */
class WatchedList {
    client;
    subject;
    source;
    options;
    /** The list is not yet completely read. */
    isFirst = true;
    /** The server has answered: it is a weft, and later failures are retried. */
    isKnown = false;
    /** The collections of the records of the list, by account and record key. */
    #have = new Map();
    constructor(client, subject, source, options) {
        this.client = client;
        this.subject = subject;
        this.source = source;
        this.options = options;
    }
    /** Lists the records and follows their changes until an error. */
    async *follow() {
        const { dids, signal } = this.options;
        const seq = yield* this.#list();
        this.isFirst = false;
        const filter = { subjects: [this.subject], sources: [this.source], accounts: true, cursor: seq };
        for await (const e of this.client.events({ ...filter, ...(dids && { actors: dids }), ...(signal && { signal }) })) {
            if (e.kind === 'account') {
                yield* this.#account(e);
                continue;
            }
            if (e.removed.length > 0)
                yield* this.#remove(e.did, e.rkey);
            if (e.added.length === 0)
                continue;
            // An account without records may be inactive, perhaps since before the watch. Its list is current, and later
            // events change it.
            if (this.#have.has(e.did))
                yield* this.#add(e);
            else
                yield* this.#list(e.did, e.cursor);
        }
    }
    /**
     * Lists the records, or those of one account, and returns the log row up to which all pages are complete. Records that are not
     * listed are removed. Changes between two pages are events too, and an existing record is not added again. A page that does not
     * include the log up to `least` is an error: another follower or a cache sent it, and the watch restarts.
     */
    async *#list(did, least = 0) {
        const gone = new Map();
        for (const [account, records] of this.#have)
            if (did === undefined || account === did)
                gone.set(account, new Set(records.keys()));
        const { limit, signal } = this.options;
        const dids = did === undefined ? this.options.dids : [did];
        let seq = Infinity;
        let cursor;
        do {
            const page = await this.client.backlinksPage(this.subject, this.source, { ...(dids && { dids }), ...(limit !== undefined && { limit }), ...(cursor !== undefined && { cursor }), ...(signal && { signal }) });
            if (page.seq === null)
                throw new Error('this server does not send Weft-Seq: it cannot be watched');
            this.isKnown = true;
            if (page.seq < least)
                throw new Error('a list is older than the event before it');
            seq = Math.min(seq, page.seq); // a later page may come from a follower that is behind
            cursor = page.cursor ?? undefined;
            for (const r of page.items) {
                gone.get(r.did)?.delete(r.rkey);
                yield* this.#add(r);
            }
        } while (cursor !== undefined);
        for (const [account, rkeys] of gone)
            for (const rkey of rkeys)
                yield* this.#remove(account, rkey);
        return seq;
    }
    /** Applies a change of an account's status: its records are removed or added. */
    async *#account({ account: { did, active }, cursor }) {
        if (active) {
            yield* this.#list(did, cursor);
            return;
        }
        for (const rkey of [...(this.#have.get(did)?.keys() ?? [])])
            yield* this.#remove(did, rkey);
    }
    *#add(r) {
        const records = this.#have.get(r.did) ?? new Map();
        if (records.has(r.rkey))
            return;
        records.set(r.rkey, r.collection);
        this.#have.set(r.did, records);
        yield { kind: this.isFirst ? 'listed' : 'added', did: r.did, collection: r.collection, rkey: r.rkey, time: r.time };
    }
    *#remove(did, rkey) {
        const records = this.#have.get(did);
        const collection = records?.get(rkey);
        if (!records || collection === undefined)
            return;
        records.delete(rkey);
        if (records.size === 0)
            this.#have.delete(did);
        yield { kind: 'removed', did, collection, rkey };
    }
}
/** Reports whether an error is final; a stream whose cursor the log no longer has restarts with the list. */
function isLast(e) {
    return e instanceof WeftError && e.status >= 400 && e.status < 500 && e.status !== 429 &&
        e.error !== 'OutdatedCursor' && e.error !== 'FutureCursor';
}
async function refusal(res) {
    const text = await res.text();
    try {
        const body = JSON.parse(text);
        return new WeftError(res.status, body.error ?? res.statusText, body.message ?? text);
    }
    catch {
        return new WeftError(res.status, res.statusText, text);
    }
}
function refuseTimes(options) {
    if (options.since !== undefined || options.until !== undefined || options.hydrate) {
        throw new Error('Constellation has no since, until and hydrate');
    }
}
function encode(query) {
    const out = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
        if (value === undefined || value === false)
            continue;
        for (const v of Array.isArray(value) ? value : [value])
            out.append(name, v instanceof Date ? v.toISOString() : String(v));
    }
    return out.toString();
}
async function* walk(first, page) {
    let cursor = first;
    do {
        const p = await page(cursor ? { cursor } : {});
        yield* p.items;
        cursor = p.cursor;
    } while (cursor);
}
/** Splits a body into its events, and drops an incomplete last one. */
async function* blocks(body) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let buffer = '';
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done)
                return;
            buffer += decoder.decode(value, { stream: true });
            const parts = buffer.split('\n\n');
            buffer = parts.pop() ?? '';
            for (const part of parts) {
                const block = { id: '', data: '' };
                for (const line of part.split('\n')) {
                    if (line.startsWith('id: '))
                        block.id = line.slice(4);
                    if (line.startsWith('data: '))
                        block.data = line.slice(6);
                }
                yield block;
            }
        }
    }
    finally {
        void reader.cancel().catch(() => undefined);
    }
}
function sleep(ms, signal) {
    return new Promise((resolve) => {
        const done = () => {
            clearTimeout(timer);
            signal?.removeEventListener('abort', done);
            resolve();
        };
        const timer = setTimeout(done, ms);
        signal?.addEventListener('abort', done);
    });
}
