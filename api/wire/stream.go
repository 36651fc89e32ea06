package wire

// The messages of the live streams. The server writes Event, LinkFrame and AccountFrame by hand, without reflection: a
// test holds its bytes to these types.

// Event is an event of /events: a change of a record (Kind record) or of an account's status (Kind account).
type Event struct {
	Kind       string   `json:"kind"`
	Origin     string   `json:"origin"`              // live, or replay for log rows from before the subscription
	Account    *Account `json:"account,omitempty"`   // of an account
	Operation  string   `json:"operation,omitempty"` // of a record: create, update or delete
	DID        string   `json:"did,omitempty"`       // of a record, as all up to Value
	Collection string   `json:"collection,omitempty"`
	Rkey       string   `json:"rkey,omitempty"`
	Rev        string   `json:"rev,omitempty"`
	Removed    []Link   `json:"removed,omitzero"` // the wanted links that are gone
	Added      []Link   `json:"added,omitzero"`   // the wanted links that are new
	Content
	Time   string `json:"time"`
	Cursor uint64 `json:"cursor"` // resumes after this event
}

// LinkFrame is a message of /subscribe about a link.
type LinkFrame struct {
	Kind   string     `json:"kind"` // link
	Origin string     `json:"origin"`
	Link   LinkChange `json:"link"`
	Cursor uint64     `json:"cursor"`
}

// LinkChange is a link that was created or deleted.
type LinkChange struct {
	Operation    string `json:"operation"`
	Source       string `json:"source"`
	SourceRecord string `json:"source_record"` // an at-uri
	SourceRev    string `json:"source_rev"`
	Subject      string `json:"subject"`
}

// AccountFrame is a message of /subscribe about an account.
type AccountFrame struct {
	Kind    string  `json:"kind"` // account
	Origin  string  `json:"origin"`
	Account Account `json:"account"`
	Cursor  uint64  `json:"cursor"`
}

// Account is the new status of an account.
type Account struct {
	DID    string `json:"did"`
	Active bool   `json:"active"`
	Status string `json:"status"`
}

// StreamEnd is the last message of a stream that the server ends: Kind is error on a WebSocket and end at /events.
type StreamEnd struct {
	Kind string `json:"kind"`
	Failure
}
