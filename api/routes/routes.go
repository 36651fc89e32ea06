// Package routes is the table of the API's routes. Everything that depends on a route is derived from it: the
// handlers' paths, the queue that a query waits in, the numbers in cursors, rate limits, metrics, pages, examples and
// documents. The parameters and answers of a route are its lexicon, in package lexicons.
//
// Code names a route by its variable here and never spells its path. The package imports nothing, so that the client
// can use it too.
package routes

// Route is a path that the API answers.
type Route struct {
	// Path is the path as the router has it: a part in braces is a parameter.
	Path string
	// Cost is how the server finds the queue of a query. Routes that ask the store for nothing have none.
	Cost Cost
	// Cursor is the route's number in cursors that clients hold: never change or reuse one. 0: the route has no cursors.
	Cursor byte
	// Page is the template of the page that a browser gets.
	Page Page
	// Stream is the protocol of a route whose answer does not end; empty for all others.
	Stream Stream
	// Unlimited exempts the route from the rate limit.
	Unlimited bool
}

// Cost is how the cost of a query is known before the query runs.
type Cost int

// The costs.
const (
	Lookup    Cost = iota // looks something up: microseconds, and the latency of the disk
	Bounded               // some milliseconds at most
	ByPage                // by the length of the page and the content on it, and by what a filter by accounts reads
	ByList                // as ByPage, and by what the query reads of the list
	ByAccount             // by the number of links to the account
	ByPairs               // by the number of counts
	ByFeed                // by the number of links to what the feed is about
)

// Page is the template of a page.
type Page string

// The pages. PageJSON shows the answer as it is; a route with PageNone answers a browser as it answers a program.
const (
	PageJSON    Page = "json"
	PageNone    Page = ""
	PageHome    Page = "home"
	PageStatus  Page = "status"
	PageExplore Page = "explore"
	PageList    Page = "list"
	PageCount   Page = "count"
	PageTop     Page = "top"
)

// Stream is the protocol of a live stream.
type Stream string

// The protocols.
const (
	WebSocket    Stream = "websocket"
	ServerEvents Stream = "events"
)

// All is every route, in the order in which / lists them.
var All []*Route

func add(r Route) *Route {
	All = append(All, &r)
	byPath[r.Path] = &r
	return &r
}

// Prefix begins the path of every XRPC method; its NSID follows.
const Prefix = "/xrpc/"

const (
	microcosm = Prefix + "blue.microcosm.links."
	weft      = Prefix + "dev.weft.links."
)

// Index sums the service up.
var Index = add(Route{Path: "/", Page: PageHome})

// Constellation's methods.
var (
	GetBacklinkDIDs     = add(Route{Path: microcosm + "getBacklinkDids", Cost: ByList, Cursor: 2, Page: PageList})
	GetBacklinks        = add(Route{Path: microcosm + "getBacklinks", Cost: ByPage, Cursor: 1, Page: PageList})
	GetBacklinksCount   = add(Route{Path: microcosm + "getBacklinksCount", Page: PageCount})
	GetDistinct         = add(Route{Path: microcosm + "getDistinct", Cost: ByList, Cursor: 2, Page: PageList})
	GetManyToMany       = add(Route{Path: microcosm + "getManyToMany", Cost: ByList, Cursor: 3, Page: PageList})
	GetManyToManyCounts = add(Route{Path: microcosm + "getManyToManyCounts", Cost: ByList, Cursor: 4, Page: PageList})
)

// Methods of weft's own.
var (
	BatchCounts         = add(Route{Path: weft + "batchCounts", Cost: ByPairs, Page: PageJSON})
	GetAccountBacklinks = add(Route{Path: weft + "getAccountBacklinks", Cost: ByAccount, Cursor: 9, Page: PageList})
	GetAccountCounts    = add(Route{Path: weft + "getAccountCounts", Cost: ByAccount, Cursor: 12, Page: PageCount})
	WeftGetBacklinkDIDs = add(Route{Path: weft + "getBacklinkDids", Cost: ByList, Cursor: 8, Page: PageList})
	WeftGetBacklinks    = add(Route{Path: weft + "getBacklinks", Cost: ByPage, Cursor: 7, Page: PageList})
	GetCounts           = add(Route{Path: weft + "getCounts", Cost: ByPairs, Page: PageCount})
	GetRecordLinks      = add(Route{Path: weft + "getRecordLinks", Page: PageJSON})
	GetTimeline         = add(Route{Path: weft + "getTimeline", Cost: Bounded, Page: PageJSON})
	GetTop              = add(Route{Path: weft + "getTop", Cost: Bounded, Page: PageTop})
)

// Constellation's older routes.
var (
	Links                  = add(Route{Path: "/links", Cost: ByPage, Cursor: 5, Page: PageList})
	LinksDistinctDIDs      = add(Route{Path: "/links/distinct-dids", Cost: ByList, Cursor: 6, Page: PageList})
	LinksCount             = add(Route{Path: "/links/count", Page: PageCount})
	LinksCountDistinctDIDs = add(Route{Path: "/links/count/distinct-dids", Page: PageCount})
	LinksAll               = add(Route{Path: "/links/all", Cost: Bounded, Cursor: 10, Page: PageExplore})
	LinksAllCount          = add(Route{Path: "/links/all/count", Cost: Bounded, Cursor: 11, Page: PageExplore})
)

// For other programs' readers and other people's pages.
var (
	Feed  = add(Route{Path: "/feed", Cost: ByFeed})
	Badge = add(Route{Path: "/badge.svg"})
)

// The live streams.
var (
	Subscribe = add(Route{Path: "/subscribe", Stream: WebSocket})
	Events    = add(Route{Path: "/events", Stream: ServerEvents})
)

// Routes about the service.
var (
	Lexicons    = add(Route{Path: "/lexicons", Page: PageJSON})
	Lexicon     = add(Route{Path: "/lexicons/{nsid}", Page: PageJSON})
	OpenAPI     = add(Route{Path: "/openapi.json"})
	Status      = add(Route{Path: "/status", Page: PageStatus})
	Health      = add(Route{Path: Prefix + "_health", Unlimited: true})
	Ready       = add(Route{Path: "/readyz", Unlimited: true})
	Robots      = add(Route{Path: "/robots.txt"})
	DIDDocument = add(Route{Path: "/.well-known/did.json"})
	ClientJS    = add(Route{Path: "/client.js"})
	ClientTypes = add(Route{Path: "/client.d.ts"})
)

// At returns the route at a path without parameters, nil when there is none.
func At(path string) *Route { return byPath[path] }

var byPath = map[string]*Route{}
