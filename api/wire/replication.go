package wire

import (
	"fmt"
	"strconv"
	"time"
)

// Replication is the state of this process's replica.
type Replication struct {
	State   string `json:"state"` // ok, behind or failing
	Replica string `json:"replica"`

	LocalTXID   uint64 `json:"local_txid"`
	ReplicaTXID uint64 `json:"replica_txid"` // 0: not known yet

	LagTransactions int64   `json:"lag_transactions"`
	LagBytes        int64   `json:"lag_bytes"` // on disk and not in the replica, segments included
	LagSeconds      float64 `json:"lag_seconds"`

	LogSeq        uint64 `json:"log_seq"`
	DurableLogSeq uint64 `json:"durable_log_seq"` // the newest log row in the replica; 0: not known yet

	SegmentsWaiting      int   `json:"segments_waiting"`
	SegmentsWaitingBytes int64 `json:"segments_waiting_bytes"`
	SegmentsUploaded     int64 `json:"segments_uploaded"` // since the start
	UploadedBytes        int64 `json:"uploaded_bytes"`    // since the start

	LastSuccess string `json:"last_success,omitempty"`
	Reason      string `json:"reason,omitempty"`     // reason of the present failure
	LastError   string `json:"last_error,omitempty"` // also if recovered
	LastErrorAt string `json:"last_error_at,omitempty"`
	Failures    int    `json:"failures"` // in a row; 0: every last attempt succeeded
	Do          string `json:"do,omitempty"`

	Verification *Verification `json:"verification"` // the last; null: none yet, or none is made
}

// Outcome is the result of a verification.
type Outcome string

// Outcomes. VerificationInconclusive is no statement about the replica: it could not be read to the end.
const (
	VerificationOK           Outcome = "ok"
	VerificationFailed       Outcome = "failed"
	VerificationInconclusive Outcome = "inconclusive"
)

// Verification is the result of a restore that weft made to verify the replica.
type Verification struct {
	Outcome Outcome  `json:"outcome"`
	Faults  []string `json:"faults"` // the damage, or why the verification is inconclusive
	Notes   []string `json:"notes"`

	EndedAt     time.Time `json:"ended_at"`
	TookSeconds float64   `json:"took_seconds"`

	Instance     string    `json:"instance"`
	TXID         TXID      `json:"txid"` // the newest, which a restore would bring back
	Time         time.Time `json:"time"` // of it
	AgeSeconds   float64   `json:"age_seconds"`
	LogSeq       uint64    `json:"log_seq"` // the newest log row
	Files        int       `json:"files"`   // of the main database that were read: all
	Segments     int       `json:"segments"`
	SegmentsRead int       `json:"segments_read"`
	ReadBytes    int64     `json:"read_bytes"`
	ScratchBytes int64     `json:"scratch_bytes"` // disk that the verification used
}

// Following is the state of a follower.
type Following struct {
	State       string  `json:"state"` // ok, waiting (for segments) or failing
	Replica     string  `json:"replica"`
	TXID        TXID    `json:"txid"` // of weft.db, as it is served
	LogSeq      uint64  `json:"log_seq"`
	LagSeconds  float64 `json:"lag_seconds"`  // age of the primary's state that is served
	LookSeconds float64 `json:"look_seconds"` // time since everything in the replica was served

	MissingSegments int    `json:"missing_segments"`
	MissingBytes    int64  `json:"missing_bytes"`
	LastError       string `json:"last_error,omitempty"`
	LastErrorAt     string `json:"last_error_at,omitempty"`
	Do              string `json:"do,omitempty"`
}

// TXID is the number of a transaction. Its JSON has 16 hexadecimal digits, as Litestream's.
type TXID uint64

// String returns the 16 digits.
func (id TXID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// MarshalText returns the 16 digits.
func (id TXID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads hexadecimal digits.
func (id *TXID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil {
		return fmt.Errorf("wire: transaction number %q is not hexadecimal: %w", text, err)
	}
	*id = TXID(n)
	return nil
}
