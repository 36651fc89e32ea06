// Package wire holds the type of every JSON answer of weft's API. The server encodes these types; the pages, the Go
// client and the commands decode them. It imports nothing of weft's, so that each of them can import it.
//
// Clients rely on the names, on lists that are never null, and on a cursor that is always present and null at the end:
// without it some of them ask for the first page for ever. Slices are therefore never nil when they are encoded.
//
// Times are RFC 3339 in UTC. Positions of an upstream (seq, committed, from, to) are sequence numbers below 10^15, and
// microseconds since 1970 from 10^15 on.
package wire

// Failure is the body of every failed answer, in the shape of XRPC.
type Failure struct {
	Name    string `json:"error"` // for example InvalidRequest
	Message string `json:"message"`
}

// Total is the answer of the methods that count links or accounts.
type Total struct {
	Total int64 `json:"total"`
}

// Record names a record.
type Record struct {
	DID        string `json:"did"`
	Collection string `json:"collection"`
	Rkey       string `json:"rkey"`
}

// Link is a link of a record: the collection and path that it is at, and the subject that it names.
type Link struct {
	Source  string `json:"source"`
	Subject string `json:"subject"`
}

// Pair names a list of links by subject and source, as getCounts and batchCounts do.
type Pair struct {
	Subject string `json:"subject"`
	Source  string `json:"source"`
}
