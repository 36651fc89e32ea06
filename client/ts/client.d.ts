/**
 * Queries the links in a weft and follows its stream. It has no dependencies and requires `fetch`, which browsers and Node 18 have.
 * With the option `constellation`, it queries a Constellation.
 */
/** A refusal of the server. */
export declare class WeftError extends Error {
    /** The status of HTTP. */
    readonly status: number;
    /** For example `InvalidRequest`. */
    readonly error: string;
    constructor(
    /** The status of HTTP. */
    status: number, 
    /** For example `InvalidRequest`. */
    error: string, message: string);
}
/** A linking record. */
export interface LinkRecord {
    did: string;
    collection: string;
    rkey: string;
    /** The time that orders lists, RFC 3339; empty from a Constellation. */
    time: string;
    /** With `hydrate`, if the server stores it. */
    cid?: string;
    /** With `hydrate`, if the server stores it. */
    value?: unknown;
}
/** A link to an account or to one of its records. */
export interface AccountLink extends LinkRecord {
    source: string;
    subject: string;
}
/** Options of all lists. */
export interface ListOptions {
    /** Only links of this time or later: a Date or RFC 3339. */
    since?: Date | string;
    /** Only links before this time. */
    until?: Date | string;
    /** Most items of a page: 1 to 1000, by default 100. */
    limit?: number;
    /** The cursor of the previous page. */
    cursor?: string;
    signal?: AbortSignal;
}
export interface BacklinksOptions extends ListOptions {
    /** Only links by these accounts. */
    dids?: string[];
    /** Oldest first. */
    reverse?: boolean;
    /** Adds the records' content, if the server stores it; a page then has at most 100 records. */
    hydrate?: boolean;
}
export interface AccountOptions extends ListOptions {
    /** Only links from these sources. */
    sources?: string[];
    hydrate?: boolean;
}
export interface Page<T> {
    items: T[];
    /** The cursor of the next page; null on the last page. */
    cursor: string | null;
    /** The log row of the page: the cursor of `events` that continues the page. null: unknown. */
    seq: number | null;
}
export interface TotalPage<T> extends Page<T> {
    total: number;
}
/** Names a list: a subject, and a source such as `app.bsky.feed.like:subject.uri`. */
export interface Pair {
    subject: string;
    source: string;
}
export interface Count extends Pair {
    links: number;
    dids: number;
}
/** The number of links to a subject from one source, and of their accounts. */
export interface SourceTotal {
    source: string;
    links: number;
    dids: number;
}
/** The links of a record, and its content. */
export interface HydratedRecord {
    /** Empty for an unknown record, and for a record of an inactive account. */
    links: Pair[];
    /** If the server stores it. */
    cid?: string;
    /** If the server stores it. */
    value?: unknown;
}
/** Options of other links in the records that link to a subject. */
export interface ManyOptions {
    /** Only records of these accounts. */
    dids?: string[];
    /** Only these other subjects. */
    others?: string[];
    /** Most items of a page: 1 to 1000, by default 100. */
    limit?: number;
    /** The cursor of the previous page. */
    cursor?: string;
    signal?: AbortSignal;
}
/** A linking record and one of its other links. */
export interface Other {
    record: {
        did: string;
        collection: string;
        rkey: string;
    };
    subject: string;
}
/** The linking records that also link to `subject`, and their accounts. */
export interface OtherCount {
    subject: string;
    records: number;
    dids: number;
}
/** The status of a weft; docs/api.md describes the members. */
export type Status = {
    ready: boolean;
    version: string;
    index: {
        links: number;
        log_seq: number;
    };
} & Record<string, unknown>;
export interface TimelineOptions {
    /** Only links of this time or later: a Date or RFC 3339. */
    since?: Date | string;
    /** Only links before this time. */
    until?: Date | string;
    /** Most spans: 1 to 200, by default 60. */
    spans?: number;
    signal?: AbortSignal;
}
/** The number of links to a subject by time, in spans of equal length. */
export interface Timeline {
    /** The start of the first span, RFC 3339; null without links. */
    from: string | null;
    /** The length of each span. */
    seconds: number;
    /** `counts` has the links of each span, oldest first, `older` those before the first span, `total` the sum of both. */
    sources: {
        source: string;
        total: number;
        older: number;
        counts: number[];
    }[];
}
export interface TopOptions {
    /** The kind of link, `collection:path`; without it, the one with the most links. */
    source?: string;
    /** The length of the span that ends now, in hours: 1 to 24, by default 24. */
    hours?: number;
    /** Most subjects: 1 to 50, by default 20. */
    limit?: number;
    /** Adds the content of subjects that are records, if the server stores it. */
    hydrate?: boolean;
    signal?: AbortSignal;
}
/** The subjects with the most links from a source. */
export interface Top {
    /** Links at or after this time are counted, RFC 3339. */
    since: string;
    /** The time up to which the server has counted links to choose the subjects. */
    until: string;
    /** Empty if there are no links. */
    source: string;
    subjects: {
        subject: string;
        links: number;
        cid?: string;
        value?: unknown;
    }[];
    /** The most links of a subject that was not counted. */
    bound: number;
    /** The sources with links in this time, those with the most first. */
    sources: string[];
}
/** Selects events; without any option, all. */
export interface StreamOptions {
    subjects?: string[];
    subjectPrefixes?: string[];
    subjectDids?: string[];
    sources?: string[];
    collections?: string[];
    actors?: string[];
    /** Also changes of the status of all accounts, or of all `actors`. */
    accounts?: boolean;
    /** Adds the content of records, and updates that change only the content. */
    hydrate?: boolean;
    /** Where to begin: the cursor of an event, or from 10^15 up a time in microseconds since 1970. Without it, from now on. */
    cursor?: number;
    signal?: AbortSignal;
}
/** A change of a linking record. */
export interface RecordEvent {
    kind: 'record';
    origin: 'live' | 'replay';
    operation: 'create' | 'update' | 'delete';
    did: string;
    collection: string;
    rkey: string;
    rev: string;
    time: string;
    /** The removed links that match the filter. */
    removed: Pair[];
    /** The added links that match the filter. */
    added: Pair[];
    /** With `hydrate`, if the server stores it, as of the time of sending. */
    cid?: string;
    /** With `hydrate`, if the server stores it. */
    value?: unknown;
    /** The cursor that resumes after this event. */
    cursor: number;
}
/** A change of an account's status: all of its links are removed, or added again. */
export interface AccountEvent {
    kind: 'account';
    origin: 'live' | 'replay';
    account: {
        did: string;
        active: boolean;
        status: string;
    };
    time: string;
    cursor: number;
}
export type StreamEvent = RecordEvent | AccountEvent;
/** Options of `watch`. */
export interface WatchOptions {
    /** Only links by these accounts. */
    dids?: string[];
    /** Most items of a page of the list: 1 to 1000, by default 100. */
    limit?: number;
    signal?: AbortSignal;
}
/** A change of a watched list: a record was there at the start, was added since, or was removed. */
export interface Change {
    kind: 'listed' | 'added' | 'removed';
    did: string;
    collection: string;
    rkey: string;
    /** Of a listed or added record, RFC 3339. */
    time?: string;
}
export interface ClientOptions {
    /**
     * The server is a Constellation, or has only its methods. Records have no times there, `counts` makes two requests for each
     * pair, and timelines, links of accounts and of records, streams and `status` require a weft.
     */
    constellation?: boolean;
    /** Replaces the global `fetch`. */
    fetch?: typeof fetch;
}
/** A client of one server. */
export declare class Client {
    #private;
    /** @param base the server's URL, without a path */
    constructor(base: string, options?: ClientOptions);
    /** Counts the links to a subject from a source. */
    count(subject: string, source: string, signal?: AbortSignal): Promise<number>;
    /** Counts lists in the order of the pairs, 1,000 per call. The counts of a call are from one snapshot. */
    counts(pairs: Pair[], signal?: AbortSignal): Promise<Count[]>;
    /** Counts the accounts that link to a subject from a source. */
    countDids(subject: string, source: string, signal?: AbortSignal): Promise<number>;
    /** Returns all sources that link to a subject, with their counts, in the order of their names. */
    sources(subject: string, signal?: AbortSignal): Promise<SourceTotal[]>;
    /** Returns a page of other links, at another path, in the records that link to a subject. */
    manyToManyPage(subject: string, source: string, pathToOther: string, options?: ManyOptions): Promise<Page<Other>>;
    /** Iterates over other links in the records that link to a subject: for list items of a list, `subject` has its accounts. */
    manyToMany(subject: string, source: string, pathToOther: string, options?: ManyOptions): AsyncGenerator<Other, void, undefined>;
    /** Returns a page of the counts of `manyToMany` by other subject. */
    manyToManyCountsPage(subject: string, source: string, pathToOther: string, options?: ManyOptions): Promise<Page<OtherCount>>;
    /** Iterates over the counts of `manyToMany` by other subject. */
    manyToManyCounts(subject: string, source: string, pathToOther: string, options?: ManyOptions): AsyncGenerator<OtherCount, void, undefined>;
    /** Returns the status of a weft. */
    status(signal?: AbortSignal): Promise<Status>;
    /** Returns a page of the linking records, newest first. */
    backlinksPage(subject: string, source: string, options?: BacklinksOptions): Promise<TotalPage<LinkRecord>>;
    /** Iterates over all linking records, page by page. */
    backlinks(subject: string, source: string, options?: BacklinksOptions): AsyncGenerator<LinkRecord, void, undefined>;
    /** Returns a page of the linking accounts, in the order of the first link of each, newest first. */
    didsPage(subject: string, source: string, options?: ListOptions): Promise<TotalPage<string>>;
    /** Iterates over all linking accounts. */
    dids(subject: string, source: string, options?: ListOptions): AsyncGenerator<string, void, undefined>;
    /** Returns a page of the links to an account and to its records, newest first. */
    accountLinksPage(did: string, options?: AccountOptions): Promise<Page<AccountLink>>;
    /** Iterates over all links to an account. */
    accountLinks(did: string, options?: AccountOptions): AsyncGenerator<AccountLink, void, undefined>;
    /** Returns the number of links to an account by source. It reads all pages. */
    accountCounts(did: string, signal?: AbortSignal): Promise<{
        total: number;
        sources: {
            source: string;
            links: number;
        }[];
    }>;
    /** Returns the links of a record, and its content if the server stores it. */
    hydratedRecord(did: string, collection: string, rkey: string, signal?: AbortSignal): Promise<HydratedRecord>;
    /** Returns the links of a record. */
    recordLinks(did: string, collection: string, rkey: string, signal?: AbortSignal): Promise<Pair[]>;
    /** Counts the links to a subject by time, for charts. */
    timeline(subject: string, sources: string[], options?: TimelineOptions): Promise<Timeline>;
    /** Lists the subjects with the most links of the last hours. */
    top(options?: TopOptions): Promise<Top>;
    /**
     * Follows the stream. It reconnects when the connection breaks, and resumes: no event is lost
     * or repeated. It ends when the signal aborts, and throws a WeftError when the server refuses it: `OutdatedCursor` means that
     * the log no longer has the next events.
     */
    events(options?: StreamOptions): AsyncGenerator<StreamEvent, void, undefined>;
    /**
     * Yields the records of a list, and then its changes, until the signal aborts: each record once when it is added and once when
     * it is removed, without a gap between the list and the changes. The records of an account that becomes inactive are removed, and
     * added again when it becomes active. If the log no longer has the changes that a broken connection missed, it lists the records
     * again and yields the differences. It keeps the keys of the list in memory. It throws a WeftError when the server refuses it, or
     * the first error of a server that has not answered yet. It requires a weft.
     */
    watch(subject: string, source: string, options?: WatchOptions): AsyncGenerator<Change, void, undefined>;
}
