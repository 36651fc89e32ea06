/**
 * Asks a weft who links to what, and follows its stream. No dependencies: it needs `fetch`, as browsers and Node from 18 have
 * it. With the option `constellation`, it asks a Constellation.
 */
/** A refusal of the server. */
export declare class WeftError extends Error {
    /** The status of HTTP. */
    readonly status: number;
    /** Such as `InvalidRequest`. */
    readonly error: string;
    constructor(
    /** The status of HTTP. */
    status: number, 
    /** Such as `InvalidRequest`. */
    error: string, message: string);
}
/** A record that links. */
export interface LinkRecord {
    did: string;
    collection: string;
    rkey: string;
    /** What lists are ordered by, RFC 3339; empty from a Constellation. */
    time: string;
    /** With `hydrate`, where it is kept. */
    cid?: string;
    /** With `hydrate`, where it is kept. */
    value?: unknown;
}
/** A link to an account or to something of it. */
export interface AccountLink extends LinkRecord {
    source: string;
    subject: string;
}
/** What all lists take. */
export interface ListOptions {
    /** Only links of this time or later: a Date or RFC 3339. */
    since?: Date | string;
    /** Only links of before this time. */
    until?: Date | string;
    /** Items of a page: 1 to 1000, by default 100. */
    limit?: number;
    /** Where to begin: the cursor of the page before. */
    cursor?: string;
    signal?: AbortSignal;
}
export interface BacklinksOptions extends ListOptions {
    /** Only links by these accounts. */
    dids?: string[];
    /** Oldest first. */
    reverse?: boolean;
    /** With the records' content, where it is kept; pages are then of 100 at most. */
    hydrate?: boolean;
}
export interface AccountOptions extends ListOptions {
    /** Only links from these sources. */
    sources?: string[];
    hydrate?: boolean;
}
export interface Page<T> {
    items: T[];
    /** Of the next page; null at the end. */
    cursor: string | null;
    /** The page has all changes up to here: as the cursor of `events`, it continues the page. null: not known. */
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
/** The links to a subject from one source, and the accounts that made them. */
export interface SourceTotal {
    source: string;
    links: number;
    dids: number;
}
/** What a record links to, and its content. */
export interface HydratedRecord {
    /** None for an unknown record, and for one of an inactive account. */
    links: Pair[];
    /** Where it is kept. */
    cid?: string;
    /** Where it is kept. */
    value?: unknown;
}
/** What else the records link to that link to a subject. */
export interface ManyOptions {
    /** Only records of these accounts. */
    dids?: string[];
    /** Only these other subjects. */
    others?: string[];
    /** Items of a page: 1 to 1000, by default 100. */
    limit?: number;
    /** Where to begin: the cursor of the page before. */
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
/** What a weft says of itself; docs/api.md names the members. */
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
    /** Only links of before this time. */
    until?: Date | string;
    /** How many spans there are at most: 1 to 200, by default 60. */
    spans?: number;
    signal?: AbortSignal;
}
/** The links to a subject by time, in spans of one length. */
export interface Timeline {
    /** When the first span begins, RFC 3339; null without links. */
    from: string | null;
    /** How long each span is. */
    seconds: number;
    /** `total` is `older`, what came before the first span, and `counts` together; the oldest span is the first. */
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
    /** How many hours, which end now: 1 to 24, by default 24. */
    hours?: number;
    /** How many subjects there are at most: 1 to 50, by default 20. */
    limit?: number;
    /** With the content of subjects that are records, where it is kept. */
    hydrate?: boolean;
    signal?: AbortSignal;
}
/** What is linked to most from a source. */
export interface Top {
    /** Links of this time or later are counted, RFC 3339. */
    since: string;
    /** What had links by then was looked at. */
    until: string;
    /** Empty where there are no links. */
    source: string;
    subjects: {
        subject: string;
        links: number;
        cid?: string;
        value?: unknown;
    }[];
    /** A subject that was not counted has at most so many links. */
    bound: number;
    /** The sources with links of this time, those with the most first. */
    sources: string[];
}
/** Which events are wanted: all, where nothing is given. */
export interface StreamOptions {
    subjects?: string[];
    subjectPrefixes?: string[];
    subjectDids?: string[];
    sources?: string[];
    collections?: string[];
    actors?: string[];
    /** Changes of the status of all accounts too, or of all `actors`. */
    accounts?: boolean;
    /** With the content of records, and with updates that change only the content. */
    hydrate?: boolean;
    /** Where to begin: the cursor of an event, or from 10^15 up a time in microseconds since 1970. Without it, from now on. */
    cursor?: number;
    signal?: AbortSignal;
}
/** What became of a record that links. */
export interface RecordEvent {
    kind: 'record';
    origin: 'live' | 'replay';
    operation: 'create' | 'update' | 'delete';
    did: string;
    collection: string;
    rkey: string;
    rev: string;
    time: string;
    /** The wanted links that are gone. */
    removed: Pair[];
    /** The wanted links that are new. */
    added: Pair[];
    /** With `hydrate`, where it is kept: of the record as it is when the event is sent. */
    cid?: string;
    /** With `hydrate`, where it is kept. */
    value?: unknown;
    /** Where to go on that has this event. */
    cursor: number;
}
/** A change of an account's status: all of its links are gone, or back. */
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
/** What a list is watched with. */
export interface WatchOptions {
    /** Only links by these accounts. */
    dids?: string[];
    /** Items of a page of the list: 1 to 1000, by default 100. */
    limit?: number;
    signal?: AbortSignal;
}
/** A change of a list that is watched: a record was there at the beginning, has come since, or has gone. */
export interface Change {
    kind: 'listed' | 'added' | 'removed';
    did: string;
    collection: string;
    rkey: string;
    /** Of a record that was listed or added, RFC 3339. */
    time?: string;
}
export interface ClientOptions {
    /**
     * The server is a Constellation, or has only its methods. Records have no times there, `counts` makes two requests for each
     * pair, and timelines, links of accounts and of records, streams and `status` need a weft.
     */
    constellation?: boolean;
    /** In place of the global `fetch`. */
    fetch?: typeof fetch;
}
/** Asks one server. */
export declare class Client {
    #private;
    /** @param base the server's URL, without a path */
    constructor(base: string, options?: ClientOptions);
    /** Counts the links to a subject from a source. */
    count(subject: string, source: string, signal?: AbortSignal): Promise<number>;
    /** Counts lists in the order of the pairs, 1,000 in a call. The counts of a call are of one moment. */
    counts(pairs: Pair[], signal?: AbortSignal): Promise<Count[]>;
    /** Counts the accounts that link to a subject from a source. */
    countDids(subject: string, source: string, signal?: AbortSignal): Promise<number>;
    /** All sources that link to a subject, with their counts, in the order of their names. */
    sources(subject: string, signal?: AbortSignal): Promise<SourceTotal[]>;
    /** A page of what else the records link to that link to a subject: from each of them, the links at another path. */
    manyToManyPage(subject: string, source: string, pathToOther: string, options?: ManyOptions): Promise<Page<Other>>;
    /** Walks through what else the records link to: of the items of a list, the accounts on it are at `subject`. */
    manyToMany(subject: string, source: string, pathToOther: string, options?: ManyOptions): AsyncGenerator<Other, void, undefined>;
    /** A page of the counts of `manyToMany` by other subject. */
    manyToManyCountsPage(subject: string, source: string, pathToOther: string, options?: ManyOptions): Promise<Page<OtherCount>>;
    /** Walks through the counts of `manyToMany` by other subject. */
    manyToManyCounts(subject: string, source: string, pathToOther: string, options?: ManyOptions): AsyncGenerator<OtherCount, void, undefined>;
    /** What a weft says of itself. */
    status(signal?: AbortSignal): Promise<Status>;
    /** A page of the records that link, newest first. */
    backlinksPage(subject: string, source: string, options?: BacklinksOptions): Promise<TotalPage<LinkRecord>>;
    /** Walks through all records that link, page by page. */
    backlinks(subject: string, source: string, options?: BacklinksOptions): AsyncGenerator<LinkRecord, void, undefined>;
    /** A page of the accounts that link, newest first by the first link of each. */
    didsPage(subject: string, source: string, options?: ListOptions): Promise<TotalPage<string>>;
    /** Walks through all accounts that link. */
    dids(subject: string, source: string, options?: ListOptions): AsyncGenerator<string, void, undefined>;
    /** A page of the links to an account and to any of its records, newest first. */
    accountLinksPage(did: string, options?: AccountOptions): Promise<Page<AccountLink>>;
    /** Walks through all links to an account. */
    accountLinks(did: string, options?: AccountOptions): AsyncGenerator<AccountLink, void, undefined>;
    /** Counts the links to an account by source, of all pages. */
    accountCounts(did: string, signal?: AbortSignal): Promise<{
        total: number;
        sources: {
            source: string;
            links: number;
        }[];
    }>;
    /** Lists what a record links to, and gives its content where the server keeps it. */
    hydratedRecord(did: string, collection: string, rkey: string, signal?: AbortSignal): Promise<HydratedRecord>;
    /** Lists what a record links to: the way forward. */
    recordLinks(did: string, collection: string, rkey: string, signal?: AbortSignal): Promise<Pair[]>;
    /** Counts the links to a subject by time: what a chart is drawn from. */
    timeline(subject: string, sources: string[], options?: TimelineOptions): Promise<Timeline>;
    /** Lists the subjects with the most links of the last hours. */
    top(options?: TopOptions): Promise<Top>;
    /**
     * Follows the stream. It connects again when the connection breaks, and goes on where it was: nothing is lost and nothing
     * comes twice. It ends when the signal aborts, and throws a WeftError when the server refuses it: `OutdatedCursor` says that
     * what came meanwhile is gone.
     */
    events(options?: StreamOptions): AsyncGenerator<StreamEvent, void, undefined>;
    /**
     * Gives the records of a list, and then its changes, until the signal aborts: each record once when it comes and once when it
     * goes, without a gap between the list and the changes. Those of an account that becomes inactive go, and come again with it.
     * If the log no longer has the changes that a broken connection missed, it lists the records again and gives the differences.
     * It keeps the keys of the list in memory. It throws a WeftError when the server refuses it, or the first error of a server that
     * has not answered yet. It needs a weft.
     */
    watch(subject: string, source: string, options?: WatchOptions): AsyncGenerator<Change, void, undefined>;
}
