package web

import "time"

// statusAnswer is what the API answers at /status.
type statusAnswer struct {
	Version  string `json:"version"`
	Instance string `json:"instance"`
	Ready    bool   `json:"ready"`
	Reason   string `json:"reason"`
	Degraded string `json:"degraded"`
	Index    struct {
		Links     int64  `json:"links"`
		Records   int64  `json:"records"`
		Actors    int64  `json:"actors"`
		LogSeq    uint64 `json:"log_seq"`
		LogOldest uint64 `json:"log_oldest"`
		Unsealed  int64  `json:"unsealed"`
		Segments  int64  `json:"segments"`
		Runs      int64  `json:"runs"`
		Jobs      int64  `json:"jobs"`
		Sealing   bool   `json:"sealing"`
		Merging   bool   `json:"merging"`
		Failed    string `json:"failed"`
	} `json:"index"`
	Space       statusSpace        `json:"space"`
	Upstream    *statusUpstream    `json:"upstream"`
	Replication *statusReplication `json:"replication"`
	Following   *statusFollowing   `json:"following"` // nil: it is no copy
	Gaps        []statusGap        `json:"gaps"`
	OpenGaps    int64              `json:"open_gaps"`
	Faults      []statusFault      `json:"faults"`
	History     struct {
		Every  float64 `json:"every_seconds"`
		Points []struct {
			Events float64 `json:"events"`
			Links  float64 `json:"links"`
			Lag    float64 `json:"lag"`
		} `json:"points"`
	} `json:"history"`
}

type statusSpace struct {
	Database int64 `json:"database_bytes"`
	WAL      int64 `json:"wal_bytes"`
	Segments int64 `json:"segment_bytes"`
	Memory   int64 `json:"memory_bytes"`
	Levels   []struct {
		Level int   `json:"level"`
		Files int64 `json:"files"`
		Links int64 `json:"links"`
		Bytes int64 `json:"bytes"`
	} `json:"levels"`
	PerLink  *float64   `json:"bytes_per_link"`
	Written  *float64   `json:"write_amplification"`
	Free     *int64     `json:"free_bytes"`
	Total    *int64     `json:"total_bytes"`
	Growth   *int64     `json:"bytes_per_day"`
	Measured float64    `json:"measured_seconds"`
	FullAt   *time.Time `json:"full_at"`
}

type statusUpstream struct {
	Connected  bool    `json:"connected"`
	Host       string  `json:"host"`
	Kind       string  `json:"kind"`
	Degraded   string  `json:"degraded"`
	Detail     string  `json:"detail"`
	LagSeconds float64 `json:"lag_seconds"`
	Seq        uint64  `json:"seq"`
	Committed  uint64  `json:"committed"`
	Queued     int64   `json:"queued"`
	Hosts      []struct {
		Host      string `json:"host"`
		Kind      string `json:"kind"`
		Committed uint64 `json:"committed"`
		Failure   string `json:"failure"`
		RetryAt   string `json:"retry_at"`
	} `json:"hosts"`
	Replay *struct {
		Host       string  `json:"host"`
		Segments   int64   `json:"segments"`
		Bytes      int64   `json:"bytes"`
		Events     int64   `json:"events"`
		BytesDone  int64   `json:"bytes_done"`
		EventsDone int64   `json:"events_done"`
		Rate       float64 `json:"events_per_second"`
		ETA        float64 `json:"eta_seconds"`
	} `json:"replay"`
	Slice string `json:"slice"`
}

// statusReplication is where the replica is.
type statusReplication struct {
	State        string  `json:"state"` // ok, behind or failing
	Replica      string  `json:"replica"`
	Local        uint64  `json:"local_txid"`
	Remote       uint64  `json:"replica_txid"` // 0: not known yet
	Transactions int64   `json:"lag_transactions"`
	Bytes        int64   `json:"lag_bytes"`
	Seconds      float64 `json:"lag_seconds"`
	LogSeq       uint64  `json:"log_seq"`
	Durable      uint64  `json:"durable_log_seq"`
	Waiting      int64   `json:"segments_waiting"`
	WaitingBytes int64   `json:"segments_waiting_bytes"`
	Uploaded     int64   `json:"uploaded_bytes"`
	LastSuccess  string  `json:"last_success"`
	LastError    string  `json:"last_error"`
	LastErrorAt  string  `json:"last_error_at"`
	Do           string  `json:"do"`
	Verification *struct {
		Outcome    string    `json:"outcome"` // ok, failed or inconclusive
		Faults     []string  `json:"faults"`
		EndedAt    time.Time `json:"ended_at"`
		AgeSeconds float64   `json:"age_seconds"`
		LogSeq     uint64    `json:"log_seq"`
		Segments   int64     `json:"segments"`
	} `json:"verification"`
}

// statusFollowing is where a server is that shows what a replica has.
type statusFollowing struct {
	State        string  `json:"state"` // ok, waiting or failing
	Replica      string  `json:"replica"`
	TXID         string  `json:"txid"`
	LogSeq       uint64  `json:"log_seq"`
	LagSeconds   float64 `json:"lag_seconds"`
	LookSeconds  float64 `json:"look_seconds"`
	Missing      int64   `json:"missing_segments"`
	MissingBytes int64   `json:"missing_bytes"`
	LastError    string  `json:"last_error"`
	LastErrorAt  string  `json:"last_error_at"`
	Do           string  `json:"do"`
}

type statusGap struct {
	ID    int64  `json:"id"`
	Host  string `json:"host"`
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
	Why   string `json:"why"`
	Found string `json:"found"`
	Tries int64  `json:"tries"`
	Note  string `json:"note"`
}

type statusFault struct {
	Level   string `json:"level"`
	Message string `json:"message"`
	Detail  string `json:"detail"`
	Do      string `json:"do"`
	Count   int64  `json:"count"`
	First   string `json:"first"`
	Last    string `json:"last"`
}
