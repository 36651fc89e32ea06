package wire

// The answers of the routes about the service itself.

// Index is the answer of /. Its nullable numbers are null until the first event is indexed.
type Index struct {
	Help        string     `json:"help"`
	DaysIndexed *int64     `json:"days_indexed"` // whole days since the first event; gaps are not subtracted
	Stats       IndexStats `json:"stats"`
	Gaps        []IndexGap `json:"gaps"` // open ones, the newest hundred at most
	Docs        []string   `json:"docs"` // the paths of all routes

	// Retention is the rules of --keep, the most specific first: how far back the index reaches; absent: all links.
	Retention []StatusRule `json:"retention,omitempty"`
}

// IndexStats has Constellation's fields, and links.
type IndexStats struct {
	DIDs           int64  `json:"dids"`
	Targetables    int64  `json:"targetables"`
	LinkingRecords int64  `json:"linking_records"`
	Links          int64  `json:"links"`
	StartedAt      *int64 `json:"started_at"` // microseconds since 1970
}

// IndexGap is a span of an upstream's positions, both ends included, that is missing from the index.
type IndexGap struct {
	Host    string `json:"host"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	Why     string `json:"why"`
	FoundAt int64  `json:"found_at"` // microseconds since 1970
}

// Health is the answer of /xrpc/_health.
type Health struct {
	Version string `json:"version"`
}

// Ready is the answer of /readyz when the service can answer.
type Ready struct {
	Ready    bool   `json:"ready"`
	Degraded string `json:"degraded,omitempty"` // a fault that does not make answers wrong
}

// LexiconList is the answer of /lexicons.
type LexiconList struct {
	Lexicons []string `json:"lexicons"` // NSIDs
}

// DIDDocument is the answer of /.well-known/did.json.
type DIDDocument struct {
	Context []string     `json:"@context"`
	ID      string       `json:"id"`
	Service []DIDService `json:"service"`
}

// DIDService is an entry of a DID document.
type DIDService struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Endpoint string `json:"serviceEndpoint"`
}
